# Each command sets up what it needs; a second call sets nothing up again (scripts/setup.sh). GNU make 3.81 or newer.
#
#   COURSE_BIN=folder   use the Python environment whose programs lie in this folder (a conda one: $CONDA_PREFIX/bin)
#                       instead of .venv; nothing is set up then.
#   TORCH_INDEX=URL     one more package index for the set-up; by default PyTorch's CPU builds on Linux x86-64 without an
#                       NVIDIA card; "none" or empty: no other index
#   PYTHON=path         the interpreter for the set-up
#
# The library runs as "python -m course_lib…", so that this folder's code runs whatever COURSE_BIN has installed.

ifeq ($(wildcard course_lib/cli.py),)
$(error Run make in the course's own folder: cd there first, or make -C FOLDER)
endif

# Arguments count only where they stand on make's command line: some accounts export a DATA of their own. They reach the
# shell as one word each, in single quotes: a file's name may hold spaces, quotes, backticks and dollars.
given = $(filter command line,$(origin $(1)))
quoted = '$(subst ','\'',$(1))'
each = $(if $(call given,$(1)),$(foreach word,$(value $(1)),$(call quoted,$(word))))
data = $(if $(call given,DATA),$(if $(value DATA),--data $(call quoted,$(value DATA))))
quick = $(if $(filter-out 0 no false off,$(if $(call given,QUICK),$(value QUICK))),--quick)
more = $(if $(call given,ARGS),$(ARGS))

ifeq ($(origin COURSE_BIN),undefined)
COURSE_BIN := .venv/bin
SETUP := sh scripts/setup.sh
else
SETUP := :
endif

python = "$(COURSE_BIN)/python"
course = $(python) -m course_lib.cli
# After a traceback or a crash. 0 is success, 2 an error that named its own mend, 130 Ctrl-C, 141 a pipe that nobody reads.
hint = status=$$?; case $$status in 0|2|130|141) ;; *) echo "make doctor says what is wrong with this environment, and what mends it." >&2 ;; esac; exit $$status

# An empty TORCH_INDEX means something; make would export one for a variable that nobody set.
ifneq ($(origin TORCH_INDEX),undefined)
export TORCH_INDEX
endif
export PYTHON
unexport PYTHONPATH PYTHONHOME PYTHONSAFEPATH

.PHONY: help setup demo test lab notebooks teacher bench doctor clean

help:
	@echo "make demo               teacher -> student -> pruned -> INT8: the main job, its table and its figure"
	@echo "make demo DATA=x QUICK=1   the same on other data; with shipped students instead of training them"
	@echo "make lab                bring your copies of the chapters (workbook/) up to date, open them in JupyterLab"
	@echo "make test               every test"
	@echo "make doctor             what is wrong with this environment, and what mends it"
	@echo "make notebooks ONLY=01  execute the text twins in notebooks/text into notebooks/ (all without ONLY)"
	@echo "make teacher DATA=x     train the networks yourself (into trained/)"
	@echo "make bench NAME=journey DATA=x   measure the recorded figures"
	@echo "make clean              remove the environment and the caches; your answers and networks stay"

setup:
	@$(SETUP)

demo: setup
	@$(course) demo $(data) $(quick) $(more); $(hint)

test: setup
	@$(python) scripts/run_tests.py $(more)

lab: setup
	@$(course) lab $(more); $(hint)

notebooks: setup
	@$(python) -m course_lib.publishing.notebooks $(call each,ONLY) $(more)

teacher: setup
	@$(course) train $(data) $(more); $(hint)

bench: setup
	@$(course) bench $(call each,NAME) $(data) $(more); $(hint)

doctor: setup
	@$(course) doctor

clean:
	rm -rf .venv .course_cache .pytest_cache .ruff_cache build dist course_lib.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
