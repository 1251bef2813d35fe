package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

func TestFilter(t *testing.T) {
	for _, empty := range []string{"", "  "} {
		if got, err := Filter(capture.LinkTypeEthernet, empty); got != nil || err != nil {
			t.Errorf("%q: %v, %v", empty, got, err)
		}
	}
	got, err := Filter(capture.LinkTypeEthernet, "ether[0] = 1")
	if err != nil || len(got) == 0 || got[0] != (rpcap.Instruction{Op: 0x30}) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Filter(capture.LinkTypeEthernet, "port and"); err == nil {
		t.Error("half an expression was taken")
	}
}

func TestBoth(t *testing.T) {
	for _, tc := range [][3]string{
		{"", "", ""}, {"tcp", "", "tcp"}, {" ", "udp", "udp"}, {"tcp or udp", "port 80", "(tcp or udp) and (port 80)"},
	} {
		if got := Both(tc[0], tc[1]); got != tc[2] {
			t.Errorf("%q and %q: %q", tc[0], tc[1], got)
		}
	}
}

func TestPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("from file\r\nnot this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(PasswordVariable, "from environment")
	for _, tc := range []struct{ url, file, want, wrong string }{
		{"rpcap://host/eth0", "", "", ""},
		{"rpcap://bob@host/eth0", "", "from environment", ""},
		{"rpcap://bob:own@host/eth0", "", "own", ""},
		{"rpcap://bob:own@host/eth0", file, "own", ""},
		{"rpcap://bob@host/eth0", file, "from file", ""},
		{"rpcap://bob@host/eth0", empty, "", "has 0 bytes"},
		{"rpcap://bob@host/eth0", file + "x", "", "no such file"},
		{"rpcap://host/eth0", file, "", "without a user"},
	} {
		u, err := rpcap.ParseURL(tc.url)
		if err != nil {
			t.Fatal(err)
		}
		err = Password(&u, tc.file)
		if (err == nil) != (tc.wrong == "") || err != nil && !strings.Contains(err.Error(), tc.wrong) || u.Password != tc.want {
			t.Errorf("%s with %q: %q, %v", tc.url, tc.file, u.Password, err)
		}
	}
}

func TestTLS(t *testing.T) {
	if c, err := TLS("", true); err != nil || !c.InsecureSkipVerify || c.RootCAs != nil {
		t.Errorf("%v, %v", c, err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if _, err := TLS(file, false); err == nil {
		t.Error("a missing file was taken")
	}
	if err := os.WriteFile(file, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := TLS(file, false); err == nil || !strings.Contains(err.Error(), "no certificate in") {
		t.Errorf("an empty file: %v", err)
	}
}

// TestValues: texts of flags, there and back.
func TestValues(t *testing.T) {
	for text, want := range map[string]rpcapclient.Transport{
		"connect": rpcapclient.TransportConnect, "accept": rpcapclient.TransportAccept, "datagram": rpcapclient.TransportDatagram,
		"default": rpcapclient.TransportDefault,
	} {
		var got Transport
		err := got.UnmarshalText([]byte(text))
		back, _ := got.MarshalText()
		if err != nil || got.Transport != want || string(back) != text {
			t.Errorf("%q: %v, %q, %v", text, got, back, err)
		}
	}
	for text, want := range map[string]Sampling{
		"none": {}, "count:10": {rpcap.SamplingOneInN, 10}, "timer:4294967295": {rpcap.SamplingFirstAfterMS, 4294967295},
	} {
		var got Sampling
		err := got.UnmarshalText([]byte(text))
		back, _ := got.MarshalText()
		if err != nil || got != want || string(back) != text {
			t.Errorf("%q: %v, %q, %v", text, got, back, err)
		}
	}
	if err := new(Transport).UnmarshalText([]byte("pigeon")); err == nil {
		t.Error("an unknown transport was taken")
	}
	for _, wrong := range []string{"", "count", "count:", "count:0", "count:-1", "timer:4294967296", "none:1", "often:2"} {
		if err := new(Sampling).UnmarshalText([]byte(wrong)); err == nil {
			t.Errorf("sampling %q was taken", wrong)
		}
	}
}
