//go:build linux

package server

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestParseSpec(t *testing.T) {
	got, err := ParseSpec("c=tcp:/opt/x/rpcapd -n  -p {port} -o a=b:c")
	want := Spec{Name: "c", Transport: TCP, Command: []string{"/opt/x/rpcapd", "-n", "-p", "{port}", "-o", "a=b:c"}}
	if err != nil || got.Name != want.Name || got.Transport != want.Transport || !slices.Equal(got.Command, want.Command) {
		t.Errorf("%+v, %v", got, err)
	}
	if p := got.Public(); p.Command[0] != "rpcapd" || got.Command[0] != "/opt/x/rpcapd" {
		t.Errorf("public %+v of %+v", p, got)
	}
	argv := got.expand(map[string]string{"port": "2002"})
	if argv[3] != "2002" || got.Command[3] != "{port}" {
		t.Errorf("expanded %v of %v", argv, got.Command)
	}
	for _, s := range []string{"", "x", "x=tcp", "=tcp:y", "a b=tcp:y", "x=pigeon:y", "x=tcp:", "x=tcp:  ", "a|b=tcp:y"} {
		if spec, err := ParseSpec(s); err == nil {
			t.Errorf("%q is taken for %+v", s, spec)
		}
	}
}

func TestParseLocal(t *testing.T) {
	const tcpdump = "tcpdump: listening on eth0, link-type EN10MB (Ethernet), snapshot length 262144 bytes\n" +
		"79866 packets captured\n80000 packets received by filter\n134 packets dropped by kernel\n"
	const dumpcap = "Capturing on 'eth0'\nFile: /dev/null\n\rPackets captured: 78887\n" +
		"Packets received/dropped on interface 'eth0': 78887/1113 (pcap:1113/dumpcap:0/flushed:0/ps_ifdrop:0) (98.6%)\n"
	for _, tc := range []struct {
		output string
		want   LocalCounts
	}{
		{tcpdump, LocalCounts{79866, 134}},
		{"1 packet captured\n1 packet received by filter\n0 packets dropped by kernel\n", LocalCounts{1, 0}},
		{dumpcap, LocalCounts{78887, 1113}},
	} {
		if got, err := ParseLocal(tc.output); err != nil || got != tc.want {
			t.Errorf("%+v, %v of\n%s", got, err, tc.output)
		}
	}
	for _, output := range []string{"", "5 packets captured\n", "99999999999999999999 packets captured\n0 packets dropped by kernel\n"} {
		if got, err := ParseLocal(output); err == nil {
			t.Errorf("%+v of %q", got, output)
		}
	}
}

// FuzzParseLocal: what was read is in the text.
func FuzzParseLocal(f *testing.F) {
	f.Add("12 packets captured\n0 packets dropped by kernel\n")
	f.Add("Packets captured: 12\nPackets received/dropped on interface 'x': 12/3 (\n")
	f.Fuzz(func(t *testing.T, output string) {
		if c, err := ParseLocal(output); err == nil && c.Captured > 0 && !strings.ContainsAny(output, "123456789") {
			t.Errorf("%+v of %q", c, output)
		}
	})
}

func TestVersion(t *testing.T) {
	script := func(text string) string {
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, tc := range []struct{ name, program, want string }{
		{"one line", script(`echo "prog 1.2"`), "prog 1.2"},
		{"up to the empty line", script("printf 'a 1\\nb 2\\n\\nlicense\\n'"), "a 1; b 2"},
		{"no such option", script(`test "$1" = -h || exit 1; printf 'PROG, a program.\nCompiled with lib version 3\n\nversion of nothing\n'`), "Compiled with lib version 3"},
		{"silent", script("exit 1"), ""},
		{"none", "/nowhere/program", ""},
	} {
		if got := Version(context.Background(), tc.program); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestReadPeakOfOurselves(t *testing.T) {
	peak, err := readPeak(os.Getpid())
	if err != nil || peak < 1<<20 || peak > 1<<40 {
		t.Errorf("%d bytes, %v", peak, err)
	}
	var m Memory
	if err := m.addRings(os.Getpid(), make(map[string]bool)); err != nil || m != (Memory{}) {
		t.Errorf("rings of a process without: %+v, %v", m, err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var tail tail
	for range 5 {
		_, _ = tail.Write([]byte(strings.Repeat("x", keptOutput)))
	}
	_, _ = tail.Write([]byte("the end"))
	if s := tail.String(); len(s) > 2*keptOutput+7 || !strings.HasSuffix(s, "the end") {
		t.Errorf("%d bytes are kept", len(s))
	}
}

func TestCertificateIsAPair(t *testing.T) {
	dir := t.TempDir()
	if err := writeCertificate(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip(err)
	}
	out, err := exec.Command("openssl", "x509", "-noout", "-text", "-in", filepath.Join(dir, certFile)).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "IP Address:127.0.0.1") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := exec.Command("openssl", "pkey", "-noout", "-check", "-in", filepath.Join(dir, keyFile)).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
