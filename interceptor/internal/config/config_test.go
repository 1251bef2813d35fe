package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v3"

	"capstan/interceptor/internal/rules"
	"capstan/pkg/strictyaml"
)

var testOptions = []Option{{Key: "body_limit", Type: "int"}, {Key: "source", List: true, Type: "stringArray"}, {Key: "by_network", Type: "bool"}}

const whole = `
source: [rpcap://node/eth0, rpcap://node/lo]
body_limit: 65536
by_network: true
body_types: [application/json, text/*]
rules:
  - deny: {path: /healthz}
  - allow: {host: "*.example.com", method: [GET, POST], status: 5xx, interface: eth0}
sinks:
  - stdout: {format: json}
  - name: archive
    max_bytes: 1MiB
    max_records: 100
    file: {path: /var/lib/records.ndjson, rotate_size: 1GiB, rotate_age: 1h, keep: 3, zstd: true, sync: true}
  - name: events
    spool_dir: /var/spool/events
    spool_bytes: 2GiB
    kafka:
      brokers: [k1:9092, k2:9092]
      topic: http
      format: json
      key: server
      compression: lz4
      max_record: 64KiB
      tls: {enabled: true, ca: ca.pem, cert: c.pem, key: k.pem, server_name: kafka}
      sasl: {mechanism: plain, user: capstan, password_file: /run/secret}
  - name: spans
    policy: block
    otlp: {endpoint: "https://otel:4318", protocol: http, metrics: false, timeout: 3s, headers: {authorization: Bearer abc}, service_name: x, compression: none}
  - collector: {address: relay:4320, token_file: t, https_proxy: http://u:p@proxy:1, no_proxy: "*", node: n1}
`

func TestEverythingThatAFileCanSay(t *testing.T) {
	f, err := Parse("c.yaml", []byte(whole), testOptions)
	if err != nil {
		t.Fatal(err)
	}
	want := &File{
		BodyTypes: []string{"application/json", "text/*"},
		Rules: []rules.Rule{
			{Deny: &rules.Match{Path: []string{"/healthz"}}},
			{Allow: &rules.Match{Host: []string{"*.example.com"}, Method: []string{"GET", "POST"}, Status: []string{"5xx"}, Interface: []string{"eth0"}}},
		},
		Sinks: []Sink{
			{Name: "stdout", Policy: "block", Stdout: &Stdout{Format: "json"}},
			{Name: "archive", Policy: "block", MaxBytes: 1 << 20, MaxRecords: 100, File: &FileSink{
				Path: "/var/lib/records.ndjson", RotateSize: 1 << 30, RotateAge: time.Hour, Keep: 3, Zstd: true, SyncToDevice: true}},
			{Name: "events", Policy: "spool", SpoolDir: "/var/spool/events", SpoolBytes: 2 << 30, Kafka: &Kafka{
				Brokers: []string{"k1:9092", "k2:9092"}, Topic: "http", Format: "json", Key: "server", Compression: "lz4", MaxRecord: 64 << 10,
				TLS:  TLS{Enabled: true, CA: "ca.pem", Cert: "c.pem", Key: "k.pem", Name: "kafka"},
				SASL: SASL{Mechanism: "plain", User: "capstan", PasswordFile: "/run/secret"}}},
			{Name: "spans", Policy: "block", OTLP: &OTLP{Endpoint: "https://otel:4318", Protocol: "http", Traces: true, Timeout: 3 * time.Second,
				Headers: map[string]Secret{"authorization": "Bearer abc"}, Service: "x", Compression: "none"}},
			{Name: "collector", Policy: "drop-oldest", Collector: &Collector{Address: "relay:4320", TokenFile: "t", HTTPSProxy: "http://u:p@proxy:1", NoProxy: "*", Node: "n1"}},
		},
		Settings: []Setting{
			{"source", []string{"rpcap://node/eth0", "rpcap://node/lo"}, 2}, {"body_limit", []string{"65536"}, 3}, {"by_network", []string{"true"}, 4},
		},
	}
	if diff := cmp.Diff(want, f, cmpopts.IgnoreUnexported(File{})); diff != "" {
		t.Error(diff)
	}
	for i, kind := range []string{"stdout", "file", "kafka", "otlp", "collector"} {
		if got := f.Sinks[i].Kind(); got != kind {
			t.Errorf("kind %s, want %s", got, kind)
		}
	}
}

func TestSecretsAreNotShown(t *testing.T) {
	f, err := Parse("c.yaml", []byte(whole), testOptions)
	if err != nil {
		t.Fatal(err)
	}
	text, err := Show(f.Settings, testOptions, f)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(text); strings.Contains(s, "abc") || strings.Contains(s, "u:p@") || !strings.Contains(s, hidden) || !strings.Contains(s, "rotate_size: 1GiB") {
		t.Error(s)
	}
}

// TestMistakesAreToldWithTheirPlace: line, key and what to do.
func TestMistakesAreToldWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"body_limits: 5", "c.yaml:1: body_limits: no such key; did you mean body_limit?"},
		{"\nwhatever: 5", "c.yaml:2: whatever: no such key; there are: body_types, rules, sinks, body_limit"},
		{"sinks:\n- stdout: {frmat: json}", "c.yaml:2: sinks[0].stdout.frmat: no such key; did you mean format?"},
		{"sinks:\n- stdout: {format: jsn}", `c.yaml:2: sinks[0].stdout.format: "jsn" is none of text, json; did you mean json?`},
		{"body_limit: 1\nbody_limit: 2", "c.yaml:2: body_limit: stands here twice"},
		{"body_limit: [1]", "c.yaml:1: body_limit: want one value"},
		{"body_limit: &a 1", "anchors"},
		{"sinks: &a []", "anchors"},
		{"sinks: 5", "c.yaml:1: sinks: want a list"},
		{"- a", "c.yaml:1: the file: want keys with values"},
		{"? [a]\n: b", "a key has to be plain text"},
		{"a: b\n---\nc: d", "more than one YAML document"},
		{"a: [", "c.yaml: yaml: line 1"},
		{"sinks:\n- name: x", "c.yaml:2: sinks[0]: want exactly one of stdout, file, kafka, otlp, collector; there are 0"},
		{"sinks:\n- stdout:\n  file: {path: x}", "there are 2"},
		{"sinks:\n- stdout:\n- stdout:", `c.yaml:3: sinks[1].name: another sink is called "stdout"`},
		{"sinks:\n- file:\n    keep: 1", "c.yaml:2: sinks[0].file: path is missing"},
		{"sinks:\n- file: {path: x, keep: -1}", `"-1" is no number`},
		{"sinks:\n- file: {path: x, zstd: yes}", `"yes" is neither true nor false`},
		{"sinks:\n- file: {path: x, rotate_age: 5}", `"5" is no time`},
		{"sinks:\n- file: {path: x, rotate_size: 5kB}", `"5kB" is no number of bytes`},
		{"sinks:\n- file: {path: x, rotate_size: 99999999999TiB}", `is no number of bytes`},
		{"sinks:\n- policy: spool\n  stdout:", "c.yaml:2: sinks[0].policy: the policy spool and a spool_dir come together"},
		{"sinks:\n- policy: block\n  spool_dir: x\n  stdout:", "come together"},
		{"sinks:\n- spool_bytes: 5\n  stdout:", "sinks[0].spool_bytes: there is no spool_dir"},
		{"sinks:\n- spool_dir: x\n  stdout:\n- spool_dir: x\n  file: {path: y}", `c.yaml:4: sinks[1].spool_dir: another sink has "x", too`},
		{"sinks:\n- kafka: {topic: x}", "brokers are missing"},
		{"sinks:\n- kafka: {brokers: a:1}", "topic is missing"},
		{"sinks:\n- kafka: {brokers: a:1, topic: x, proxy: {no_proxy: b}}", "sinks[0].kafka.proxy: url is missing"},
		{"sinks:\n- kafka: {brokers: [a:1, b], topic: x}", `sinks[0].kafka.brokers[1]: "b" is not HOST:PORT`},
		{"sinks:\n- kafka: {brokers: a:1, topic: x, max_record: 5}", "max_record: not from"},
		{"sinks:\n- kafka: {brokers: a:1, topic: x, tls: {cert: a}}", "cert and key come together"},
		{"sinks:\n- kafka: {brokers: a:1, topic: x, sasl: {mechanism: scram-sha-512}}", "user and password_file are missing"},
		{"sinks:\n- kafka: {brokers: a:1, topic: x, sasl: {mechanism: plain, user: u, password_file: f}}", "plain shows the password"},
		{"sinks:\n- otlp: {endpoint: x}", `"x" is not HOST:PORT`},
		{"sinks:\n- otlp: {endpoint: a:1, protocol: http}", "want a URL"},
		{"sinks:\n- otlp: {endpoint: a:1, traces: false, metrics: false}", "nothing would be sent"},
		{"sinks:\n- otlp: {endpoint: a:1, timeout: 0s}", "more than 0s"},
		{"sinks:\n- otlp: {endpoint: 'http://a:1', protocol: http, tls: {enabled: true}}", "write https"},
		{"sinks:\n- otlp: {endpoint: a:1, headers: [x]}", "sinks[0].otlp.headers: want keys"},
		{"sinks:\n- collector: {address: x}", `sinks[0].collector.address: "x" is not HOST:PORT`},
		{"rules:\n- allow: {}\n  deny: {}", "c.yaml:2: rules[0]: want either allow or deny"},
		{"rules:\n- deny: {status: abc}", `status "abc" is none`},
		{"body_types: json", `"json" is no media type`},
		{"rules: [" + strings.Repeat("{}, ", strictyaml.MaxList+1) + "]", "more than 1000 entries"},
		{strings.Repeat("#", strictyaml.MaxLen+1), "longer than"},
	} {
		_, err := Parse("c.yaml", []byte(c.text), testOptions)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q: %v; want %q", c.text, err, c.want)
		}
	}
	if _, err := Parse("c.yaml", []byte("a: 1\nb: 2\nsinks: 3"), nil); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("not everything is told: %v", err)
	}
}

func TestNothingIsAFileToo(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "body_limit:\nsinks:\nrules:\n"} {
		f, err := Parse("c.yaml", []byte(text), testOptions)
		if err != nil || len(f.Settings)+len(f.Sinks)+len(f.Rules) != 0 {
			t.Errorf("%q: %+v %v", text, f, err)
		}
	}
}

// FuzzParse holds that what a file says is shown as a file that says the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(whole))
	f.Add([]byte("rules: [{deny: {host: [\"\\n\\t\\tx\"]}}]"))
	f.Add([]byte("source: '*x'\nbody_limit: 0x10\nrules: [{deny: {host: ['~', 'null', '- a', \"\\n\"]}}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		first, err := Parse("c.yaml", text, testOptions)
		if err != nil {
			return
		}
		shown, err := Show(first.Settings, testOptions, first)
		if err != nil {
			t.Fatal(err)
		}
		second, err := Parse("c.yaml", shown, testOptions)
		if err != nil {
			t.Fatalf("%v\n%s", err, shown)
		}
		secrets := cmp.Comparer(func(a, b Secret) bool { return a.String() == b.String() })
		if diff := cmp.Diff(first, second, secrets, cmpopts.IgnoreUnexported(File{}), cmpopts.IgnoreFields(Setting{}, "Line"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s\n%s", diff, shown)
		}
	})
}

// TestEveryFieldIsReadable: the reader knows the types of all fields, and each
// has a name and says what it is.
func TestEveryFieldIsReadable(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(r reflect.Type) {
		known, names := strictyaml.Fields(r)
		for _, name := range names {
			f := r.Field(known[name])
			if f.Tag.Get("doc") == "" {
				t.Errorf("%s.%s says nothing", r, f.Name)
			}
			inner := f.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				walk(inner)
			} else if inner.Kind() != reflect.Map {
				// Panics for a type that it doesn't know.
				new(strictyaml.Reader).Decode(&strictyaml.Node{Kind: yaml.ScalarNode, Value: "1"}, "", reflect.New(inner).Interface())
			}
		}
	}
	walk(reflect.TypeFor[File]())
}
