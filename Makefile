# Capstan. `make help` lists the targets.

GO       ?= go
BIN      := bin
TOOL     := $(GO) tool -modfile=tools/go.mod
BUF      := $(GO) tool -modfile=tools/buf/go.mod buf
FUZZTIME ?= 5s
ARGS     ?=

PREFIX   ?= /usr/local
DESTDIR  ?=
SBINDIR  ?= $(PREFIX)/sbin
BINDIR   ?= $(PREFIX)/bin
MANDIR   ?= $(PREFIX)/share/man
UNITDIR  ?= $(PREFIX)/lib/systemd/system
DATADIR  ?= $(PREFIX)/share/rpcapd
UNITS    := $(notdir $(wildcard manifests/systemd/*))
INETD    := $(notdir $(wildcard manifests/inetd/*))

CHART        := $(GO) -C tools/chart
IMAGES       := rpcapd interceptor relay
# The first that works: a client of docker may be there without its daemon.
IMAGE_ENGINE ?= $(firstword $(foreach e,docker podman buildah,$(shell $(e) version >/dev/null 2>&1 && echo $(e))))
IMAGE_ARCH   ?= $(shell $(GO) env GOARCH)
IMAGE_PREFIX ?=
IMAGE_TAG    ?= $(shell awk '/^appVersion:/{gsub(/"/, ""); print $$2}' manifests/charts/capstan/Chart.yaml)

export CGO_ENABLED = 0

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/rpcapd, bin/interceptor, bin/extcap, bin/relay and bin/bench
	$(GO) build -trimpath -o $(BIN)/ ./rpcapd ./interceptor ./interceptor/extcap ./interceptor/relay ./bench

.PHONY: run
run: build ## capture on all interfaces of this host and print each exchange; ARGS="--output json"
	@$(BIN)/bench host -- $(ARGS)

.PHONY: demo
demo: build ## the same on traffic of its own, in network namespaces; ARGS="--output json"
	@$(BIN)/bench demo -- $(ARGS)

.PHONY: test
test: build ## run every test; as root those too that need the kernel
	$(GO) test ./...

.PHONY: test-race
test-race: ## run the tests under the race detector (needs a C compiler); those of the binaries gain nothing by it
	CGO_ENABLED=1 $(GO) test -race $$($(GO) list ./... | grep -v /e2e)

.PHONY: soak
soak: build ## what takes long (as root, needs a C compiler): 10 minutes of frames while filters change, each of them accounted for; 1,000 connections that do things in any order, under the race detector
	SOAK_TIME=10m $(GO) test -count=1 -timeout 15m -v -run TestLedger ./rpcapd/internal/device
	CGO_ENABLED=1 CHURN_CONNECTIONS=1000 $(GO) test -race -count=1 -timeout 30m -run TestChurn ./rpcapd/internal/daemon

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME
	@GO="$(GO)" FUZZTIME="$(FUZZTIME)" sh .ci/fuzz

.PHONY: chaos
chaos: build ## kill proxy, relay and collector for MINUTES=3 while records pass
	CAPSTAN_CHAOS=$(or $(MINUTES),3) $(GO) test -count=1 -timeout 60m -run TestRelayLosesNothing -v ./bench/internal/e2e

.PHONY: test-otlp
test-otlp: ## have the OpenTelemetry collector's own receiver judge what the interceptor sends to it
	$(GO) -C tools/otlp test -count=1 ./...

.PHONY: prove
prove: ## EXCHANGES=50000 live to all sinks and watchers, as root, while broker and receiver are killed and come back; make test has a tenth of them
	CAPSTAN_EXCHANGES=$(or $(EXCHANGES),50000) $(GO) test -count=1 -timeout 30m -run TestEverySinkLive -v ./bench/internal/e2e

.PHONY: bench
bench: build ## measure capture servers as root, in namespaces of its own, under 10 minutes: report in bin/report/
	$(BIN)/bench server --output $(BIN)/report --name report $(ARGS)

.PHONY: bench-compare
bench-compare: build ## tell what is worse in the last report of `make bench` than in the baseline, beyond noise; ARGS="OLD.txt NEW.txt"
	$(BIN)/bench compare $(or $(ARGS),bench/results/baseline.txt $(BIN)/report/report.txt)

.PHONY: bench-baseline
bench-baseline: build ## measure the baseline and README's figures again, on a quiet machine; C_RPCAPD=/path/to/rpcapd C_RPCAPD_FACT="libpcap 1.10.5, built with …"
	$(BIN)/bench server --output bench/results --name baseline --add 'c-rpcapd=tcp:$(C_RPCAPD) -n -b 127.0.0.1 -p {port}' --fact 'c-rpcapd=$(C_RPCAPD_FACT)' $(ARGS)
	$(BIN)/bench report bench/results/baseline.json --readme README.md

.PHONY: bench-engine
bench-engine: ## measure the interceptor's engine against the textbook pipeline, on the same frames; ARGS="-count 6"
	$(GO) test -pgo=$(CURDIR)/interceptor/default.pgo -run '^$$' -bench AgainstTextbook -benchtime 3s $(ARGS) ./interceptor/internal/engine

.PHONY: profile
profile: ## take the profile again that the interceptor is built with (go doc cmd/go, -pgo), on a quiet machine
	mkdir -p $(BIN)
	$(GO) test -trimpath -run '^$$' -bench Workload -benchtime 6s -cpu 1 -o /dev/null -cpuprofile $(CURDIR)/$(BIN)/engine.pprof ./interceptor/internal/engine
	$(GO) test -trimpath -run '^$$' -bench Sinks/stdout -benchtime 2s -o /dev/null -cpuprofile $(CURDIR)/$(BIN)/sinks.pprof ./interceptor/internal/command
	$(GO) tool pprof -proto $(BIN)/engine.pprof $(BIN)/sinks.pprof > interceptor/default.pgo

.PHONY: bench-pipeline
bench-pipeline: build ## measure rpcapd and interceptor together, as root: processor time of an exchange, against each alone; ARGS="--shards 2"
	$(BIN)/bench pipeline $(ARGS)

.PHONY: bench-sinks
bench-sinks: build ## measure each way out of the interceptor likewise, with the share of each stage
	$(BIN)/bench pipeline --outlets all --stages --alone=false $(ARGS)

.PHONY: bench-go
bench-go: ## run the Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: lint
lint: ## gofmt, vet, staticcheck, buf (lint, and no change that breaks readers of the released schema); the portable packages are vetted for another system too
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -d $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	GOOS=darwin $(GO) vet ./pkg/capture ./pkg/flow ./pkg/capfile ./pkg/rpcap/... ./pkg/packet ./pkg/defrag ./pkg/pcapfilter ./pkg/reassembly ./pkg/strictyaml ./pkg/smallfile ./pkg/prefetch
	$(TOOL) staticcheck ./...
	$(BUF) lint
	$(BUF) breaking --against proto/released.binpb

.PHONY: generate
generate: ## regenerate the code of proto/
	$(BUF) generate

.PHONY: generate-check
generate-check: generate ## regenerate and fail if anything changed
	git diff --exit-code -- proto

.PHONY: release-schema
release-schema: ## make the schema as it is now what later ones may not break
	$(BUF) build -o proto/released.binpb

.PHONY: install
install: build ## install programs, manual page, systemd units and inetd lines under PREFIX, in DESTDIR
	install -D -m 755 $(BIN)/rpcapd $(DESTDIR)$(SBINDIR)/rpcapd
	install -D -m 755 $(BIN)/interceptor $(DESTDIR)$(BINDIR)/interceptor
	install -D -m 755 $(BIN)/relay $(DESTDIR)$(BINDIR)/relay
	install -D -m 644 docs/rpcapd.8 $(DESTDIR)$(MANDIR)/man8/rpcapd.8
	install -d $(DESTDIR)$(UNITDIR) $(DESTDIR)$(DATADIR)
	for f in $(UNITS); do sed 's|/usr/local/sbin|$(SBINDIR)|; s|/usr/local/bin|$(BINDIR)|' manifests/systemd/$$f > $(DESTDIR)$(UNITDIR)/$$f || exit 1; done
	for f in $(INETD); do sed 's|/usr/local/sbin|$(SBINDIR)|' manifests/inetd/$$f > $(DESTDIR)$(DATADIR)/$$f || exit 1; done

.PHONY: uninstall
uninstall: ## remove what install has installed
	rm -f $(DESTDIR)$(SBINDIR)/rpcapd $(addprefix $(DESTDIR)$(BINDIR)/,interceptor relay) $(DESTDIR)$(MANDIR)/man8/rpcapd.8
	rm -f $(addprefix $(DESTDIR)$(UNITDIR)/,$(UNITS)) $(addprefix $(DESTDIR)$(DATADIR)/,$(INETD))
	rmdir --ignore-fail-on-non-empty $(DESTDIR)$(DATADIR) || true

.PHONY: image
image: ## build the images with docker, podman or buildah (IMAGE_ENGINE), named IMAGE_PREFIXcapstan-NAME:IMAGE_TAG; IMAGE_ARCH=arm64
	$(if $(IMAGE_ENGINE),,$(error none of docker, podman and buildah works here))
	GOOS=linux GOARCH=$(IMAGE_ARCH) $(GO) build -trimpath -o $(BIN)/image/$(IMAGE_ARCH)/ ./rpcapd ./interceptor ./interceptor/relay
	engine=$(IMAGE_ENGINE); for name in $(IMAGES); do \
		$$engine build --quiet --platform linux/$(IMAGE_ARCH) --target $$name --file manifests/image/Containerfile \
			--label org.opencontainers.image.title=capstan-$$name --label org.opencontainers.image.version=$(IMAGE_TAG) \
			--label org.opencontainers.image.revision=$$(git rev-parse HEAD) --label org.opencontainers.image.licenses=Apache-2.0 \
			--tag $(IMAGE_PREFIX)capstan-$$name:$(IMAGE_TAG) $(BIN)/image/$(IMAGE_ARCH) || exit 1; \
	done

.PHONY: chart
chart: ## make what is derived from the Helm chart: schema, README's table, plain manifests
	$(CHART) run . $(CURDIR)/manifests

.PHONY: test-chart
test-chart: ## test the Helm chart, and as root with podman the images, as a pod on this host
	$(CHART) run . --check $(CURDIR)/manifests
	$(CHART) vet ./...
	$(CHART) test ./...

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BIN)
