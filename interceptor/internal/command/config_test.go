package command

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/interceptor/internal/config"
)

var update = flag.Bool("update", false, "write the generated parts of the documents")

const docs = "../../../docs/"

// TestReference holds the documents to what is read.
func TestReference(t *testing.T) {
	schema, err := config.Schema(options())
	if err != nil {
		t.Fatal(err)
	}
	const marker = "-update -->\n"
	text, err := os.ReadFile(docs + "configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(text), marker)
	for name, want := range map[string]string{
		"configuration.md":   head + marker + "\n" + config.Reference(options()),
		"config.schema.json": string(schema),
	} {
		if *update {
			if err := os.WriteFile(docs+name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(docs + name); err != nil || string(got) != want {
			t.Errorf("%s is not what is read (%v); run with -update", name, err)
		}
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// runCommandLine runs a command line and returns its status and both outputs.
func runCommandLine(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := Run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

func TestConfigShowTellsWhatHolds(t *testing.T) {
	file := writeFile(t, "body_limit: 1\nsnaplen: 2\nmax_queue: 3\nsource: [rpcap://u:planted@h/eth0]\nhttps_proxy: http://u:planted@p:1\n"+
		"sinks: [{otlp: {endpoint: a:1, headers: {k: planted}}}]\n")
	t.Setenv("CAPSTAN_SNAPLEN", "20")
	t.Setenv("CAPSTAN_SERVICE_HOST", "of no flag")
	status, text, errors := runCommandLine(t, "config", "show", file)
	if status != 0 {
		t.Fatal(status, errors)
	}
	for _, want := range []string{"body_limit: 1\n", "snaplen: 20\n", "max_queue: 3\n", "idle_timeout: ", "service_name: capstan-interceptor"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Contains(text, "planted") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	t.Setenv("CAPSTAN_CONFIG", file)
	if _, again, _ := runCommandLine(t, "config", "show"); again != text {
		t.Errorf("by the environment it is another:\n%s", again)
	}
}

func TestConfigCheck(t *testing.T) {
	if status, out, _ := runCommandLine(t, "config", "check", writeFile(t, "body_limit: 1\nmetrics_address: unix:/run/m\nmemory: 64MiB\ncollector: c:1\nhttps_proxy: p:1\nfilter: tcp")); status != 0 || !strings.HasSuffix(out, "c.yaml: ok\n") {
		t.Errorf("%d %s", status, out)
	}
	for text, want := range map[string]string{
		"body_limt: 1":                        "c.yaml:1: body_limt: no such key; did you mean body_limit?",
		"\nbody_limit: x":                     "c.yaml:2: body_limit: ",
		"checksums: maybe":                    "c.yaml:1: checksums: ",
		"max_queue: 0":                        "c.yaml:1: max_queue: has to be more than 0",
		"idle_timeout: 0s":                    "c.yaml:1: idle_timeout: has to be more than 0",
		"watchers: 0":                         "c.yaml:1: watchers: has to be more than 0",
		"watch_idle_rate: -1":                 "c.yaml:1: watch_idle_rate: is negative",
		"config: x":                           "no such key",
		"\nmask_header: [-X-Csrf-Tokn]":       `c.yaml:2: mask_header: "-X-Csrf-Tokn" takes out what is not masked; masked are *Authorization, `,
		"mask_query: [x, -y]":                 `c.yaml:1: mask_query: "-y" takes out what is not masked; masked are *token, `,
		"output: foo":                         `c.yaml:1: output: --output "foo" is none of text, json, none`,
		"color: x":                            "c.yaml:1: color: ",
		"log_format: x":                       "c.yaml:1: log_format: ",
		"shards: 257":                         "c.yaml:1: shards: ",
		"memory: 1MiB":                        "c.yaml:1: memory: ",
		"filter: tcp prt 80":                  "c.yaml:1: filter: ",
		"source: [foo]":                       `c.yaml:1: source: source "foo": no scheme`,
		"metrics_address: nohost":             `c.yaml:1: metrics_address: "nohost" is not HOST:PORT`,
		"api_socket_mode: x":                  "c.yaml:1: api_socket_mode: ",
		"collector: nohost":                   "c.yaml:1: collector: ",
		"https_proxy: ftp://x":                "c.yaml:1: https_proxy: ",
		"a: 1\nb: 2":                          "c.yaml:2: b: no such key",
		"output: x\ncolor: x":                 "c.yaml:2: color: ",
		"sinks: [{stdout: {}}]\noutput: json": "c.yaml:2: output: ",
		"rules: [{deny: {a: 1}}]":             "rules[0].deny.a: no such key; there are: host, path, method, status, interface",
	} {
		if status, _, err := runCommandLine(t, "config", "check", writeFile(t, text)); status != ExitUsage || !strings.Contains(err, want) {
			t.Errorf("%q: %d %s; want %s", text, status, err, want)
		}
	}
	if status, _, err := runCommandLine(t, "config", "check", writeFile(t, "mask_header: [-X-Csrf-Token, '*-pin', -x-no-pin]\nmask_query: [-csrf_token]")); status != 0 {
		t.Errorf("what is masked can't be taken out: %d %s", status, err)
	}
	for file, want := range map[string]string{"/does/not/exist": "no such file", t.TempDir(): "is a directory"} {
		for _, args := range [][]string{{"config", "check", file}, {"config", "show", file}, {"read", "--config", file, "x"}, {"run", "--config", file}} {
			if status, _, err := runCommandLine(t, args...); status != ExitCannotStart || !strings.Contains(err, want) || !strings.Contains(err, file) {
				t.Errorf("%v: %d %s", args, status, err)
			}
		}
	}
	if status, _, err := runCommandLine(t, "read", "--mask-query", "-y", "x"); status != ExitUsage || !strings.Contains(err, `mask_query: "-y" takes out what is not masked`) {
		t.Errorf("%d %s", status, err)
	}
	t.Setenv("CAPSTAN_BODY_LIMIT", "x")
	if status, _, err := runCommandLine(t, "config", "show"); status != ExitUsage || !strings.Contains(err, "CAPSTAN_BODY_LIMIT in the environment") {
		t.Errorf("%d %s", status, err)
	}
}
