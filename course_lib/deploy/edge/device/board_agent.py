"""What ``course kit run`` does on the board: one file for Python 3.6 and its standard library, sent with each request.

Nothing of it stays on the board, so no old version can answer. A request is one JSON object (base64) as the only
argument, the reply one line of JSON behind ``REPLY``; a file's bytes come on standard input. Sent so, no name ever
passes through a shell.

The state of a run lies in ``.course/`` within the kit's folder:

* ``lock``: held (flock) by the runner and by the benchmark itself for as long as either lives. A process number can be
  given to another process; a lock is free when its holders are gone, whatever ended them.
* ``job.json``: the run's number, the kit's and its arguments; ``status.json``: how it ended; ``log``: what it said.
* ``fetched``: the number of the run whose results were taken home.
"""

import base64
import contextlib
import errno
import hashlib
import json
import os
import subprocess
import sys
import time

REPLY = "COURSE-REPLY "
STATE = ".course"
BLOCK = 1 << 16  # bytes
LOG_BYTES = 1 << 17  # of one reply
FULL = (errno.ENOSPC, errno.EDQUOT)


def main(argument):
    """Answer one request; the reply is printed, and "error" in it says what the system refused."""
    request = json.loads(base64.b64decode(argument).decode("utf-8"))
    try:
        os.umask(0o022)
        folder = os.path.join(os.path.expanduser("~"), os.path.expanduser(request["folder"]))
        os.makedirs(os.path.join(folder, STATE), exist_ok=True)
        os.chdir(folder)
        reply = ACTIONS[request["action"]](request)
    except OSError as error:
        reply = {"error": "full" if error.errno in FULL else "refused", "text": error.strerror, "at": error.filename}
    # A login script may have printed something without a newline.
    sys.stdout.write("\n" + REPLY + json.dumps(reply) + "\n")
    sys.stdout.flush()


def look(request):
    """What lies here: {name: [bytes, sha256]} of the files and of the parts of files, free bytes, the last run."""
    disk = os.statvfs(".")
    names = request["names"]
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "folder": os.getcwd(),
        "free_bytes": disk.f_bavail * disk.f_frsize,
        "files": {name: described(name) for name in names if os.path.isfile(name)},
        "parts": {name: described(name + ".part") for name in names if os.path.isfile(name + ".part")},
        "job": job_state(),
    }


def described(path):
    """[bytes, sha256] of a file."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(BLOCK), b""):
            digest.update(block)
            size += len(block)
    return [size, digest.hexdigest()]


def put(request):
    """Files from standard input, one behind the other, each from its ``offset`` on; the names of those that are wrong.

    A file grows as <name>.part and gets its name once its checksum is right. Where the input ends too early the part
    stays, to be continued; one that is as long as it should be and wrong is removed.
    """
    wrong = []
    for item in request["files"]:
        name, part = item["name"], item["name"] + ".part"
        if os.path.dirname(name):
            os.makedirs(os.path.dirname(name), exist_ok=True)
        if receive(part, item["offset"], item["bytes"]) < item["bytes"]:
            return {"whole": False, "wrong": wrong}
        if described(part)[1] == item["sha256"]:
            os.chmod(part, 0o755 if name.endswith(".sh") else 0o644)
            os.replace(part, name)
        else:
            os.remove(part)
            wrong.append(name)
    return {"whole": True, "wrong": wrong}


def receive(part, size, total):
    """Append standard input to the first ``size`` bytes of a file until it has ``total``; returns what it has."""
    handle = os.open(part, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.ftruncate(handle, size)
        os.lseek(handle, 0, os.SEEK_END)
        while size < total:
            block = os.read(0, min(BLOCK, total - size))
            if not block:
                break
            size += len(block)
            while block:
                block = block[os.write(handle, block) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    return size


def start(request):
    """Start the steps detached from this connection, unless a run is under way."""
    handle = lock()
    if handle is None:
        return {"started": False, "job": job_state()}
    for name in ["status.json", "fetched", "log", "pid"]:
        remove(os.path.join(STATE, name))
    if not request["resume"]:
        for name in request["results"]:
            remove(name)
    write_json("job.json", {key: request[key] for key in ("id", "kit", "arguments")})
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (0, 1, 2):
                os.dup2(os.open(os.devnull, os.O_RDWR), number)
            run(request, handle)
        os._exit(0)
    os.waitpid(child, 0)
    return {"started": True, "job": job_state()}


def run(request, handle):
    """The runner: one step after the other until one fails. Never returns."""
    status = {"id": request["id"], "step": "start", "returncode": 1, "text": ""}
    try:
        with open(os.path.join(STATE, "log"), "ab", 0) as log:
            before = out_of_memory_kills()
            for step in request["steps"]:
                status.update(run_step(step, request["kit"], log, handle), step=step["name"])
                if status["returncode"] != 0:
                    break
            status["out_of_memory"] = before is not None and before < (out_of_memory_kills() or 0)
    except Exception as error:
        status["text"] = str(error)
    finally:
        with contextlib.suppress(OSError):  # a full disk: the run then counts as killed
            write_json("status.json", status)
        os._exit(0)


def run_step(step, kit, log, handle):
    """{"returncode", "text"} of one step; one whose marker names this kit is done already."""
    marker = step["marker"] and os.path.join(STATE, step["marker"])
    if marker and read(marker) == kit:
        return {"returncode": 0, "text": ""}
    log.write(("STEP %s\n" % step["name"]).encode())
    environment = dict(os.environ, PYTHONUNBUFFERED="1", LC_ALL="C.UTF-8")
    try:
        process = subprocess.Popen(
            step["command"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            pass_fds=(handle,),
        )
    except OSError as error:
        return {"returncode": 127, "text": "%s: %s" % (step["command"][0], error.strerror)}
    write(os.path.join(STATE, "pid"), str(process.pid))
    code = process.wait()
    if code == 0 and marker:
        write(marker, kit)
    return {"returncode": code, "text": ""}


def follow(request):
    """The run's state, and its log from ``offset`` on in whole lines."""
    job = job_state()  # before the log: what an ended run said is then complete
    with contextlib.suppress(OSError), open(os.path.join(STATE, "log"), "rb") as stream:
        stream.seek(request["offset"])
        text = stream.read(LOG_BYTES)
        whole = text if len(text) == LOG_BYTES or not alive(job) else text[: text.rfind(b"\n") + 1]
        return {"job": job, "text": whole.decode("utf-8", "replace"), "offset": request["offset"] + len(whole)}
    return {"job": job, "text": "", "offset": request["offset"]}


def alive(job):
    return bool(job and job["alive"])


def fetch(request):
    """A file's bytes (base64) and their checksum; {} if it is not there."""
    if not os.path.isfile(request["name"]):
        return {}
    with open(request["name"], "rb") as stream:
        content = stream.read()
    return {"content": base64.b64encode(content).decode("ascii"), "sha256": hashlib.sha256(content).hexdigest()}


def fetched(request):
    """Note that the results of this run are at home."""
    write(os.path.join(STATE, "fetched"), request["id"])
    return {}


def job_state():
    """The last run: its job.json, whether it lives, its status (None: none was left), whether it was fetched."""
    handle = lock()
    if handle is not None:
        os.close(handle)
    job = read_json("job.json")
    if job is None:
        return None
    status = read_json("status.json")
    if status is not None and status.get("id") != job["id"]:
        status = None
    job.update(alive=handle is None, status=status, fetched=read(os.path.join(STATE, "fetched")) == job["id"])
    return job


def lock():
    """An open file that holds the lock, or None while a run holds it."""
    import fcntl  # not on Windows, where this file is only read

    handle = os.open(os.path.join(STATE, "lock"), os.O_RDWR | os.O_CREAT, 0o644)
    for wait in (0.02, 0.1, 0):  # another question may hold it for a moment
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            time.sleep(wait)
    os.close(handle)
    return None


def out_of_memory_kills():
    """Processes that the kernel has killed for memory since it started; None before Linux 4.13."""
    for line in read("/proc/vmstat").splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return None


def read(path):
    """The file's text, "" if there is none."""
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""


def write(path, text):
    """Write whole or not at all; two agents may write the same file at once."""
    part = "%s.%d.new" % (path, os.getpid())
    with open(part, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)


def read_json(name):
    """An object from the state folder, None if it is missing or broken."""
    try:
        found = json.loads(read(os.path.join(STATE, name)))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def write_json(name, value):
    write(os.path.join(STATE, name), json.dumps(value))


def remove(path):
    with contextlib.suppress(OSError):
        os.remove(path)


ACTIONS = {"look": look, "put": put, "start": start, "follow": follow, "fetch": fetch, "fetched": fetched}

if __name__ == "__main__":
    main(sys.argv[1])
