# make demo, make test and make check set up their own virtual environment; none of them needs root or apt.
PYTHON ?= python3
# With WHEEL=1 the commands use a built wheel, installed as users have it; Python does not see the source then.
VENV ?= $(if $(WHEEL),build/venv,.venv)
BIN := $(VENV)/bin
SOURCE := $(if $(WHEEL),$(shell find redis_wanpool _wanpool.py lua README.md -not -path '*__pycache__*'))
EXTRAS := [embedded,dev,bench]
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo)
# How many times as long randomised tests last: in make long as long as they should, elsewhere in a short form.
LONG = 0.2
# Two workers a core, as tests wait half of their time; those of a file that needs this machine's ports stay in one.
# Where Python may keep no bytecode, each of the many processes compiles everything: it may here.
PYTEST = PYTHONDONTWRITEBYTECODE= WANPOOL_WHEEL=$(WHEEL) WANPOOL_LONG=$${WANPOOL_LONG:-$(LONG)} $(BIN)/python -P -m pytest -q -n 4
SERVERS := valkey-9.1 redis-6.2 redis-8.2 libfaketime
# The layers whose tests ask something of the server that its version may answer in another way.
BY_VERSION := $(addprefix tests/,model protocol transport engine faults doctor cli)
BY_CLUSTER := $(addprefix tests/,model protocol/test_protocol.py protocol/test_scripts.py protocol/test_queue.py \
  protocol/test_bounded.py protocol/test_model.py engine/test_reaper.py cli/test_operator.py faults/test_faults.py)
SHORT_LABS := $(addprefix tests/labs/,test_tools.py test_tls.py test_redis_cli.py test_completion.py)
# What is asked of other versions; .ci/run leaves out what is slow.
ASKED ?= per_server
# The first of them also runs with a false clock, which Debian's Redis with its jemalloc does not survive.
VERSIONS ?= valkey-8.1,redis-7.0
# What make test-all adds to what .ci/run runs.
PARTS := bench long versions clusters clients model simulate failovers labs mutants pythons bare

.PHONY: demo test slow test-all $(PARTS) clients-there labs-short check faults fmt release clean

$(VENV)/.ready: pyproject.toml $(SOURCE)
	@what='-e .$(EXTRAS)'; \
	if [ -n "$(WHEEL)" ]; then rm -rf $(VENV) build/dist; fi; \
	if command -v uv >/dev/null 2>&1; then \
	  if [ -n "$(WHEEL)" ]; then uv build -q --wheel -o build/dist && what=$$(echo build/dist/*.whl)'$(EXTRAS)'; fi && \
	  uv venv -q --allow-existing --python $(PYTHON) $(VENV) && uv pip install -q --python $(BIN)/python $$what; \
	else \
	  if [ -n "$(WHEEL)" ]; then \
	    $(PYTHON) -m pip wheel -q --disable-pip-version-check --no-deps -w build/dist . && what=$$(echo build/dist/*.whl)'$(EXTRAS)'; \
	  fi && \
	  $(PYTHON) -m venv --without-pip $(VENV) && \
	  $(PYTHON) -m pip --python $(BIN)/python install -q --disable-pip-version-check $$what; \
	fi
	@touch $@

demo: $(VENV)/.ready
	@$(BIN)/wanpool demo

# What the recipes of docs/clients.md need besides, apart because it is large.
build/clients/.ready: | $(VENV)/.ready
	@$(PYTHON) -m pip --python $(BIN)/python install -q --disable-pip-version-check --upgrade --target build/clients scrapy celery
	@touch $@

.servers/%/server: tests/support/servers.py
	@$(PYTHON) tests/support/servers.py $*

# On one server, with the same random choices each time. WANPOOL_TEST_SERVERS=redis-6.2,valkey-9.1 chooses others.
test: $(VENV)/.ready $(SERVERS:%=.servers/%/server)
	WANPOOL_SEED=$${WANPOOL_SEED:-1} $(PYTEST) --hypothesis-seed=1 -m "not long and not slow"

# What waits for real timeouts and deaths, or starts many programs.
slow: $(VENV)/.ready $(SERVERS:%=.servers/%/server)
	WANPOOL_SEED=$${WANPOOL_SEED:-1} $(PYTEST) --hypothesis-seed=1 -m slow

# What takes long or is random: all of it, by other choices each time.
long: LONG = 1
long: $(VENV)/.ready $(SERVERS:%=.servers/%/server) .servers/valkey-8.1/server
	$(PYTEST) -m "long or longer"

# Everything that .ci/run does not run, part by part; needs root, and the packages that CONTRIBUTING.md names.
test-all:
	@QUICK=1 $(PYTHON) tests/support/parts.py $(PARTS)

# A table and a plot of what it costs, as ratios; with QUICK=1 a short form, into build/.
bench: $(VENV)/.ready
	$(BIN)/python -m bench $(if $(QUICK),--quick --into build/bench)

versions: $(VENV)/.ready
	$(PYTHON) tests/support/servers.py
	WANPOOL_TEST_SERVERS=$(VERSIONS) $(PYTEST) -m "$(ASKED)" $(BY_VERSION)

# Three primaries and three replicas.
clusters: $(VENV)/.ready $(SERVERS:%=.servers/%/server)
	WANPOOL_TEST_SERVERS=cluster-redis-8.2,cluster-valkey-9.1 $(PYTEST) -m "per_server and not one_server" $(BY_CLUSTER)

# gevent, gunicorn, Celery and others, as programs use them.
clients: $(SERVERS:%=.servers/%/server)
	@$(MAKE) --no-print-directory VENV=build/venv-clients EXTRAS=[embedded,dev,bench,clients] clients-there

clients-there: $(VENV)/.ready
	WANPOOL_CLIENTS=1 $(PYTEST) tests/frameworks

model: $(VENV)/.ready
	$(BIN)/python tests/safety_model.py

# The real protocol and scripts in a world of seeds; SEED=7 STORY=1 tells what happens in one, and SHRINK=1 makes a shorter one.
simulate: $(VENV)/.ready $(SERVERS:%=.servers/%/server)
	$(BIN)/python -P tests/simulation/simulate.py --seed $(or $(SEED),1) --seeds $(or $(SEEDS),$(if $(SEED),1,60)) $(if $(STORY),--story) $(if $(SHRINK),--shrink)

failovers: $(VENV)/.ready $(SERVERS:%=.servers/%/server)
	WANPOOL_FAILOVERS=50 $(BIN)/python -m pytest -q -s --show-capture=no tests/faults/test_failovers.py

# Those that take seconds, and no root; the others, two beside each other.
labs-short: $(VENV)/.ready $(SERVERS:%=.servers/%/server) build/clients/.ready
	WANPOOL_LABS=1 $(PYTEST) $(SHORT_LABS)

labs: $(VENV)/.ready $(SERVERS:%=.servers/%/server)
	$(AS_ROOT) env WANPOOL_LABS=1 $(BIN)/python -m pytest -q -n 2 $(filter-out $(SHORT_LABS),$(wildcard tests/labs/test_*.py))

mutants: $(VENV)/.ready $(SERVERS:%=.servers/%/server)
	$(BIN)/python tests/mutants/run.py

# The suite on the Pythons that are newer than the oldest which will do, where they are installed.
pythons:
	$(PYTHON) tests/support/pythons.py 3.12 3.13

# Both on a bare Debian.
bare:
	$(AS_ROOT) $(PYTHON) tests/support/debian.py "make demo && make test"

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

# The randomised tests in their long form, and 1,000 failovers (about 75 minutes), from WANPOOL_SEED if it is set.
faults: $(VENV)/.ready $(SERVERS:%=.servers/%/server)
	WANPOOL_LONG=$${WANPOOL_LONG:-30} WANPOOL_FAILOVERS=$${WANPOOL_FAILOVERS:-1000} $(BIN)/python -m pytest -q -s tests/faults tests/protocol/test_lost_replies.py tests/protocol/test_model.py

fmt: $(VENV)/.ready
	$(BIN)/ruff check --fix -q .
	$(BIN)/ruff format -q .

# Source archive and wheel into build/release, the same each time, checked and tried; see CONTRIBUTING.md.
release:
	@$(PYTHON) tests/support/release.py

clean:
	rm -rf $(VENV) .servers build dist
