package command

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"capstan/interceptor/internal/config"
	"capstan/interceptor/internal/delivery"
	"capstan/pkg/logtest"
	capstanv1 "capstan/proto/capstan/v1"
)

func TestReload(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a.ndjson"), filepath.Join(dir, "b.ndjson")
	first := fmt.Sprintf("body_limit: 10\nsnaplen: 100\nsinks:\n- name: a\n  file: {path: %q}\n", a)
	file := writeFile(t, first)
	var log logtest.Buffer
	r := runner{streams: streams{out: &bytes.Buffer{}, err: &log}}
	r.started = pflag.NewFlagSet("run", pflag.ContinueOnError)
	r.flags.register(r.started)
	var err error
	if err = r.started.Parse([]string{"--config", file, "--mask-header", "X-Always"}); err == nil {
		r.settings, err = loadSettings(r.started)
	}
	if err == nil {
		r.log, err = newLogger(&log, "text")
	}
	defer r.flags.begin()()
	if err == nil {
		r.out, r.sinks, err = r.flags.openOutput(t.Context(), r.streams.out, r.settings, r.log, func(err error) { t.Error(err) })
	}
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	emit := func(path string) {
		n++
		r.out.Emit(&capstanv1.Exchange{Id: fmt.Sprint(n), Request: &capstanv1.HttpRequest{Target: path}})
	}
	change := func(text string) string {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r.reload()
		return log.Take()
	}
	emit("/secret")
	if told := change(first + "nonsense: 1\n"); !strings.Contains(told, "configuration not changed") || !strings.Contains(told, "no such key") {
		t.Errorf("a mistake: %s", told)
	}
	if told := change(first + "filter: tcp prot 80\n"); !strings.Contains(told, "configuration not changed") {
		t.Errorf("a filter that is none: %s", told)
	}
	if told := change(first + "mask_query: [-x]\n"); !strings.Contains(told, "configuration not changed") || !strings.Contains(told, "takes out what is not masked") {
		t.Errorf("an exception that nothing stands for: %s", told)
	}
	emit("/secret")
	told := change(fmt.Sprintf("body_limit: 20\nsnaplen: 200\nfilter: tcp port 80\nmask_header: [X-Never]\nrules: [{deny: {path: /secret}}]\nsinks:\n- name: a\n  file: {path: %q}\n- name: b\n  file: {path: %q}\n", a, b))
	if !strings.Contains(told, "option=snaplen") || !strings.Contains(told, "rule 1: deny path /secret") || strings.Contains(told, "option=filter") || strings.Contains(told, "option=body_limit") || strings.Contains(told, "option=mask_header") {
		t.Errorf("a change: %s", told)
	}
	if fmt.Sprint(r.flags.mask) != "[X-Always]" || r.flags.bodyLimit != 20 {
		t.Errorf("masks %v, body limit %d: the command line comes first", r.flags.mask, r.flags.bodyLimit)
	}
	emit("/secret")
	emit("/open")
	late := filepath.Join(dir, "late")
	c := filepath.Join(late, "c")
	if told = change(fmt.Sprintf("sinks:\n- name: b\n  file: {path: %q}\n- name: c\n  file: {path: %q}\n", b, c)); !strings.Contains(told, "msg=\"sink fails\" sink=c") {
		t.Errorf("a sink that can't be opened: %s", told)
	}
	emit("/secret")
	if s := r.out.snapshot().Sinks; len(s) != 3 || s[1].Name != "c" || !s[1].Failing || s[1].Queued != 1 {
		t.Errorf("%+v", s)
	}
	if err := os.Mkdir(late, 0o700); err != nil {
		t.Fatal(err)
	}
	for r.out.snapshot().Sinks[1].Delivered == 0 { // it is opened without another signal
		time.Sleep(10 * time.Millisecond)
	}
	if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	log.Take()
	stop := r.reloadOnHangup(ended)
	if err := unix.Kill(os.Getpid(), unix.SIGHUP); err != nil {
		t.Fatal(err)
	}
	told = ""
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(told, "the end has begun") && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
		told += log.Take()
	}
	stop()
	if s := r.out.snapshot().Sinks; !strings.Contains(told, "the end has begun") || len(s) != 3 || s[0].Name != "b" {
		t.Errorf("SIGHUP at the end: %s", told)
	}
	if err := r.sinks.close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{a: "[1 2 4]", b: "[4 5]", c: "[5]"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for i := 1; i <= n; i++ {
			if jsonIDs(t, text)[fmt.Sprint(i)] {
				ids = append(ids, fmt.Sprint(i))
			}
		}
		if fmt.Sprint(ids) != want {
			t.Errorf("%s has %v, want %s", filepath.Base(name), ids, want)
		}
	}
	out := r.out.snapshot()
	if out.Passed != 4 || out.Denied != 1 || len(out.Sinks) != 3 || out.Sinks[2].Name != "a" || out.Sinks[2].Delivered != 3 {
		t.Errorf("%+v", out)
	}
}

func TestOutputAndSinksTogether(t *testing.T) {
	capture := writeCapture(t, 10000, 1, 10)
	config := writeFile(t, "sinks: [{stdout: {format: json}}]")
	if status, out, err := runCommandLine(t, "read", "--config", config, capture); status != 0 || len(jsonIDs(t, []byte(out))) != 10 {
		t.Errorf("%d %s", status, err)
	}
	if status, _, err := runCommandLine(t, "read", "--config", config, "-o", "json", capture); status != ExitUsage || !strings.Contains(err, "both write") {
		t.Errorf("%d %s", status, err)
	}
	config = writeFile(t, "output: json\nsinks: [{file: {path: /dev/null}}]")
	if status, out, err := runCommandLine(t, "read", "--config", config, capture); status != 0 || len(jsonIDs(t, []byte(out))) != 10 {
		t.Errorf("%d %s", status, err)
	}
	if status, _, err := runCommandLine(t, "read", "--config", config, "--file", "x", capture); status != ExitUsage || !strings.Contains(err, `called "file"`) {
		t.Errorf("%d %s", status, err)
	}
	config = writeFile(t, "sinks: [{file: {path: /does/not/exist}}]")
	if status, _, err := runCommandLine(t, "read", "--config", config, capture); status != ExitCannotStart || !strings.Contains(err, "sink file: ") {
		t.Errorf("%d %s", status, err)
	}
}

// TestSameSinksAreLeftAlone: a reload that changes none has nobody wait, as those would do
// who write to a blocked standard output. To replace queues takes a Fanout; there is none.
func TestSameSinksAreLeftAlone(t *testing.T) {
	list := []config.Sink{{Name: "a", File: &config.FileSink{Path: "a"}}, {Name: "b", File: &config.FileSink{Path: "b"}}}
	o := &outlets{ending: t.Context(), opened: map[*delivery.Queue]config.Sink{new(delivery.Queue): list[1], new(delivery.Queue): list[0]}}
	if err := o.change(list); err != nil || len(o.opened) != 2 {
		t.Errorf("%v, %d sinks", err, len(o.opened))
	}
}
