# crmsync: a PostgreSQL extension, built with PGXS.
#   make, make install, make installcheck      as with every PGXS extension; PG_CONFIG=... chooses the server
#   make demo, make check, make bench          do their own set-up on a Debian or Ubuntu machine
#   make check-model                           thousands of random histories against the model
#   make unit, make fuzz [SANITIZE=1]          tests that need no server
#   make format-check, tidy, layers            checks of the sources
# Everything made goes below build/ (or BUILDDIR).

.DEFAULT_GOAL := all

# The goals that begin by installing packages must work before PostgreSQL's build files are there.
SELF_CONTAINED := demo check check-model check-versions bench setup
.PHONY: $(SELF_CONTAINED)

# Samba's own services would begin with the machine, and listen to its network: where there are such, Active
# Directory is tested only if somebody has installed it.
active_directory := $(if $(wildcard /run/systemd/system),,active_directory)

ifneq (,$(filter $(SELF_CONTAINED),$(MAKECMDGOALS)))

demo:
	@scripts/setup build server demo
	@KEEP="$(KEEP)" demo/run

check:
	@scripts/setup build unit server demo check sanitize lint $(active_directory)
	@scripts/check $(SUITES)

check-model:
	@scripts/setup build server demo check
	@scripts/check model

check-versions:
	@scripts/check-versions $(VERSIONS)

bench:
	@scripts/setup build server demo check
	@bench/run $(BENCH)

setup:
	@scripts/setup build unit server demo check sanitize lint $(active_directory)

else

PG_CONFIG ?= pg_config
# One name for one place, whoever calls: what a file depends on is known by it.
override BUILDDIR := $(patsubst $(CURDIR)/%,%,$(or $(BUILDDIR),build))
BUILD_GOALS := $(filter-out clean distclean maintainer-clean format format-check layers,$(or $(MAKECMDGOALS),all))
ifneq (,$(BUILD_GOALS))
MISSING := $(shell CXX="$(CXX)" PG_CONFIG="$(PG_CONFIG)" scripts/missing-packages build $(if $(filter unit fuzz,$(BUILD_GOALS)),unit) $(if $(SANITIZE),sanitize))
ifneq (,$(MISSING))
$(error missing: $(MISSING). Install with: sudo apt-get install $(MISSING))
endif
endif

EXTENSION  := control/crmsync
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" control/crmsync.control 2>/dev/null)
DATA_built := $(BUILDDIR)/crmsync--$(EXTVERSION).sql
DATA       := $(wildcard control/upgrade/crmsync--*.sql)
EXTRA_CLEAN := $(BUILDDIR) results regression.diffs regression.out output_iso tmp_check tmp_check_iso

REGRESS        := $(patsubst sql/%.sql,%,$(wildcard sql/*.sql))
REGRESS_OPTS    = --inputdir=.
ISOLATION      := $(patsubst test/isolation/specs/%.spec,%,$(wildcard test/isolation/specs/*.spec))
ISOLATION_OPTS  = --inputdir=test/isolation

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

PG_MAJOR := $(firstword $(subst ., ,$(MAJORVERSION)))
ifneq (,$(filter $(PG_MAJOR),9 10 11 12 13 14))
$(error crmsync needs PostgreSQL 15 or later; $(PG_CONFIG) belongs to $(MAJORVERSION))
endif

# ---- the two libraries -----------------------------------------------------------------------

# Sanitized by clang, which takes half of gcc's time for it: so both have judged every line.
ifdef SANITIZE
CC  := clang
CXX := clang++
endif

BUILD := $(BUILDDIR)/$(PG_MAJOR)-$(if $(SANITIZE),sanitize,$(notdir $(CXX)))

# The files of a layer are compiled many at a time, which takes much less time; with UNIFIED= each alone, which
# is better while one works on a few.
UNIFIED ?= yes

find_sources = $(sort $(foreach d,$(1),$(wildcard src/$(d)/*.cpp src/$(d)/*/*.cpp)))
objects_of   = $(patsubst %.cpp,$(BUILD)/%.o,$(1))
#   $(call unified_objects,NAME,SOURCES)
unified_objects = $(if $(UNIFIED),$(patsubst %.cpp,%.o,$(shell scripts/unify $(BUILD)/unified/$(1) $(2))),$(call objects_of,$(2)))

LAYERS          := record net exchange directory sync
PRELOAD_OBJECTS := $(call unified_objects,preload,$(call find_sources,preload))
LAYER_OBJECTS   := $(call unified_objects,layers,$(call find_sources,$(LAYERS)))
SERVER_OBJECTS  := $(call unified_objects,server,$(call find_sources,server))

SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPTIMIZE   ?= -O2 -g1
FORTIFY    := $(if $(filter -O0,$(OPTIMIZE)),,-D_FORTIFY_SOURCE=2)
CODE        = $(if $(SANITIZE),-O0 -g1 $(SANITIZERS),$(OPTIMIZE) $(FORTIFY))

# PostgreSQL's own flags are gcc's and C's; what its headers rely on is no strict aliasing and
# wrapping integers. They are taken as system headers, since -Wextra is ours and not theirs.
WARNINGS    = -Wall -Wextra -Werror
COMPILE = $(CXX) -std=c++20 $(CODE) -fstack-protector-strong -fPIC -fvisibility=hidden \
          $(WARNINGS) -D_GNU_SOURCE -Isrc -MMD -MP $(COPT) $(EXTRA_FLAGS)
POSTGRES_FLAGS := -fno-strict-aliasing -fwrapv -isystem $(includedir_server) -DCRMSYNC_VERSION='"$(EXTVERSION)"'
ENGINE_LIBS    = -lcurl -lldap -llber -lpugixml -lcrypto

$(PRELOAD_OBJECTS): EXTRA_FLAGS := $(POSTGRES_FLAGS) -fno-exceptions -fno-rtti -fno-threadsafe-statics
$(SERVER_OBJECTS): EXTRA_FLAGS := $(POSTGRES_FLAGS)
$(PRELOAD_OBJECTS) $(SERVER_OBJECTS): control/crmsync.control

$(BUILD)/%.o: %.cpp
	@mkdir -p $(@D)
	$(COMPILE) -c $< -o $@
$(BUILD)/unified/%.o: $(BUILD)/unified/%.cpp
	$(COMPILE) -I. -c $< -o $@

# Linked by the C compiler: no libstdc++ in the postmaster.
$(BUILD)/crmsync$(DLSUFFIX): $(PRELOAD_OBJECTS)
	$(CC) -shared $(if $(SANITIZE),$(SANITIZERS)) $^ -Wl,-z,relro -Wl,-z,now -o $@

$(BUILD)/crmsync_engine$(DLSUFFIX): $(LAYER_OBJECTS) $(SERVER_OBJECTS)
	$(CXX) -shared $(if $(SANITIZE),$(SANITIZERS)) $^ -Wl,-Bsymbolic -Wl,--exclude-libs,ALL \
	    -Wl,-z,relro -Wl,-z,now $(ENGINE_LIBS) -o $@

LIBRARIES := $(if $(PRELOAD_OBJECTS),$(BUILD)/crmsync$(DLSUFFIX)) $(if $(SERVER_OBJECTS),$(BUILD)/crmsync_engine$(DLSUFFIX))

.PHONY: libraries install-libraries uninstall-libraries show-build
show-build:
	@echo $(BUILD)
libraries: $(LIBRARIES)
all: libraries

# A library that running servers have mapped is replaced, never written over.
install: install-libraries
install-libraries: libraries
	$(MKDIR_P) '$(DESTDIR)$(pkglibdir)'
	$(foreach l,$(LIBRARIES),rm -f '$(DESTDIR)$(pkglibdir)/$(notdir $(l))' && $(INSTALL_SHLIB) $(l) '$(DESTDIR)$(pkglibdir)/' &&) true

uninstall: uninstall-libraries
uninstall-libraries:
	rm -f '$(DESTDIR)$(pkglibdir)/crmsync$(DLSUFFIX)' '$(DESTDIR)$(pkglibdir)/crmsync_engine$(DLSUFFIX)'

# ---- the install script ----------------------------------------------------------------------

$(BUILDDIR)/crmsync--$(EXTVERSION).sql: $(sort $(wildcard control/schema/*.sql)) control/crmsync.control
	@mkdir -p $(@D)
	cat $(filter %.sql,$^) > $@

# ---- tests that need no server ---------------------------------------------------------------

# One program a layer, against everything but server/. Its tests are compiled as one file, or each alone with
# UNIFIED= as the libraries are.
LAYER_ARCHIVE := $(BUILD)/layers.a
$(LAYER_ARCHIVE): $(LAYER_OBJECTS)
	rm -f $@ && $(AR) rcs $@ $^

UNIT_LAYERS  := $(sort $(foreach t,$(wildcard test/unit/*_test.cpp),$(firstword $(subst _, ,$(notdir $t)))))
UNIT_TESTS   := $(patsubst %,$(BUILD)/unit/%,$(UNIT_LAYERS))
UNIT_SUPPORT := $(call objects_of,$(filter-out %_test.cpp,$(wildcard test/unit/*.cpp)))
unit_objects  = $(call unified_objects,test/unit/$(1),$(wildcard test/unit/$(1)_*_test.cpp))
$(foreach l,$(UNIT_LAYERS),$(eval $(BUILD)/unit/$l: $(call unit_objects,$l)))
# A test may put a function of its own in the place of a library's: its symbols are visible. Tests are
# compiled more often than they are run, so they are not optimized.
$(BUILD)/test/% $(BUILD)/unified/test/%: CODE = -O0 -g1 $(if $(SANITIZE),$(SANITIZERS))
$(BUILD)/test/% $(BUILD)/unified/test/%: EXTRA_FLAGS = -fvisibility=default

# What several tests share is an archive, too: each takes of it what it needs.
UNIT_ARCHIVE := $(BUILD)/unit.a
$(UNIT_ARCHIVE): $(UNIT_SUPPORT)
	rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/unit/%: $(UNIT_ARCHIVE) $(LAYER_ARCHIVE)
	@mkdir -p $(@D)
	$(CXX) $(if $(SANITIZE),$(SANITIZERS)) $(filter %.o,$^) $(filter %.a,$^) -lgtest_main -lgtest $(ENGINE_LIBS) -lssl -lcrypto -lz -pthread -o $@

.PHONY: unit unit-build fuzz fuzz-build
unit-build: $(UNIT_TESTS)
unit: unit-build
	@scripts/run-unit $(UNIT_TESTS)

# A fuzz target is a file test/fuzz/NAME_fuzz.cpp with LLVMFuzzerTestOneInput; its corpus is
# test/fuzz/corpus/NAME/. Replayed by a plain main(), so that it needs no clang.
FUZZ_TARGETS := $(patsubst test/fuzz/%_fuzz.cpp,$(BUILD)/fuzz/%,$(wildcard test/fuzz/*_fuzz.cpp))
$(BUILD)/fuzz/%: $(BUILD)/test/fuzz/%_fuzz.o $(BUILD)/test/fuzz/replay.o $(LAYER_ARCHIVE)
	@mkdir -p $(@D)
	$(CXX) $(if $(SANITIZE),$(SANITIZERS)) $^ $(ENGINE_LIBS) -pthread -o $@
fuzz-build: $(FUZZ_TARGETS)
fuzz: fuzz-build
	@scripts/run-fuzz $(FUZZ_TARGETS)

# What scripts/check runs its tests with. All parts in one go, so that no core waits at the end of each.
.PHONY: stand-in sanitized
stand-in:
	@$(MAKE) -C test/exchange BUILD=$(abspath $(BUILDDIR)/exchange)
sanitized:
	@$(MAKE) SANITIZE=1 $(SANITIZED)

# ---- checks of the sources -------------------------------------------------------------------

CLANG_FORMAT ?= clang-format-14
CLANG_TIDY   ?= clang-tidy-14
CXX_FILES := $(shell find src test bench -name '*.cpp' -o -name '*.h' -o -name '*.hpp' 2>/dev/null)

.PHONY: format format-check tidy layers
format:
	$(CLANG_FORMAT) -i $(CXX_FILES)
format-check:
	@$(CLANG_FORMAT) --dry-run -Werror $(CXX_FILES)
tidy:
	@scripts/tidy $(CLANG_TIDY) $(includedir_server)
layers:
	@scripts/check-layers $(wildcard $(BUILD)/crmsync$(DLSUFFIX))

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)

endif
