# Each command sets up what it needs; a second call sets nothing up again (scripts/setup.sh). GNU make 3.81 or newer.
#
#   COURSE_BIN=folder   use the Python environment whose programs lie in this folder (a conda one: $CONDA_PREFIX/bin)
#                       instead of .venv; nothing is set up then.
#   TORCH_INDEX=URL     one more package index for the set-up, such as https://download.pytorch.org/whl/cpu
#   PYTHON=path         the interpreter for the set-up

# Arguments count only where they stand on make's command line: some accounts export a DATA of their own.
argument = $(if $(filter command line,$(origin $(1))),$(if $($(1)),$(2)))
data = $(call argument,DATA,--data "$(DATA)")
more = $(call argument,ARGS,$(ARGS))

ifeq ($(origin COURSE_BIN),undefined)
COURSE_BIN := .venv/bin
SETUP := sh scripts/setup.sh
else
SETUP := :
endif

export TORCH_INDEX PYTHON
unexport PYTHONPATH PYTHONHOME

.PHONY: help setup demo test lab notebooks teacher bench doctor clean

help:
	@echo "make demo               teacher -> student -> pruned -> INT8: the main job, its table and its figure"
	@echo "make demo DATA=x QUICK=1   the same on other data; with shipped students instead of training them"
	@echo "make lab                open the course in JupyterLab"
	@echo "make test               every test"
	@echo "make doctor             what is wrong with this environment, and what mends it"
	@echo "make notebooks ONLY=01  execute the text twins in notebooks/text into notebooks/ (all without ONLY)"
	@echo "make teacher DATA=x     train the shipped networks again"
	@echo "make bench NAME=journey DATA=x   measure the recorded figures"
	@echo "make clean              remove the environment and the caches; your answers stay"

setup:
	@$(SETUP)

demo: setup
	@"$(COURSE_BIN)/course" demo $(data) $(call argument,QUICK,--quick) $(more)

test: setup
	@"$(COURSE_BIN)/python" scripts/run_tests.py $(more)

lab: setup
	@"$(COURSE_BIN)/jupyter" lab notebooks/00_start_here.ipynb $(if $(filter 0,$(shell id -u)),--allow-root) $(more)

notebooks: setup
	@"$(COURSE_BIN)/python" -m course_lib.publishing.notebooks $(call argument,ONLY,$(ONLY)) $(more)

teacher: setup
	@"$(COURSE_BIN)/course" train $(data) $(more)

bench: setup
	@"$(COURSE_BIN)/course" bench $(call argument,NAME,$(NAME)) $(data) $(more)

doctor: setup
	@"$(COURSE_BIN)/course" doctor

clean:
	rm -rf .venv .course_cache .pytest_cache .ruff_cache build dist course_lib.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
