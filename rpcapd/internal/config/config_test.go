package config

import (
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spf13/pflag"
)

func defaults() Config {
	return Config{Port: "2002", TCP: true, UnixUIDs: []uint32{0, uint32(os.Geteuid())}, RingMiB: 32, MaxSessions: 64}
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		args   string
		change func(*Config)
	}{
		{"", func(*Config) {}},
		{"-n4D", func(c *Config) { c.NullAuth, c.IPv4Only, c.Debug = true, true, true }},
		{"-np2003 -b ::1", func(c *Config) { c.NullAuth, c.Port, c.Address = true, "2003", "::1" }},
		{"-p 1 -p 2", func(c *Config) { c.Port = "2" }},
		{"stray -n", func(c *Config) { c.NullAuth, c.Ignored = true, []string{"stray"} }},
		{"--unix-socket /run/s", func(c *Config) { c.UnixSocket, c.TCP = "/run/s", false }},
		{"--unix-socket /run/s -p 2002", func(c *Config) { c.UnixSocket = "/run/s" }},
		{"--unix-socket /run/s -b ::", func(c *Config) { c.UnixSocket, c.Address = "/run/s", "::" }},
		{"--unix-socket /run/s --unix-allow-uid 1,2 --unix-allow-gid=3", func(c *Config) {
			c.UnixSocket, c.TCP, c.UnixUIDs, c.UnixGIDs = "/run/s", false, []uint32{1, 2}, []uint32{3}
		}},
		{"--metrics-address 127.0.0.1:9 --ring-size 8 --max-sessions 3 --log-format json", func(c *Config) {
			c.MetricsAddress, c.RingMiB, c.MaxSessions, c.LogJSON = "127.0.0.1:9", 8, 3, true
		}},
		{"-l 10.1.2.3/8,name;::1", func(c *Config) {
			c.Allow.Entries = []AllowEntry{
				{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, {Name: "name"}, {Prefix: netip.MustParsePrefix("::1/128")},
			}
		}},
	} {
		want := defaults()
		tc.change(&want)
		got, err := Parse(strings.Fields(tc.args))
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", tc.args, err, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"-Z":                                   "unknown shorthand flag: 'Z'",
		"--no-such":                            "unknown flag",
		"-p":                                   "needs an argument",
		"--ring-size 1":                        "--ring-size 1 is not from 2 to 4096",
		"--max-sessions 0":                     "--max-sessions 0",
		"--log-format xml":                     `--log-format "xml"`,
		"-l 10.0.0.0/33":                       `"10.0.0.0/33" is no prefix`,
		"--unix-allow-uid x --unix-socket /s":  `"x" is no number`,
		"--unix-allow-gid 1":                   "need --unix-socket",
		"--metrics-address 9100":               "--metrics-address",
		"--unix-socket=":                       "is no path",
		"--unix-socket " + long:                "path is longer than",
		"--ring-size 1 --max-sessions=9999999": "--max-sessions 9999999",
	} {
		if _, err := Parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %s", args, err, want)
		}
	}
}

var long = "/" + strings.Repeat("x", 120)

// The usage text names every option, by its letter too, and its default.
func TestUsageIsComplete(t *testing.T) {
	var v values
	v.flagSet().VisitAll(func(f *pflag.Flag) {
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		start := strings.Index(Usage, name)
		if start < 0 {
			t.Errorf("nothing about %s", name)
			return
		}
		if f.DefValue == "" || f.DefValue == "false" || f.DefValue == formatText {
			return
		}
		rest := Usage[start:]
		if !strings.Contains(rest[:min(len(rest), 300)], "(default: "+f.DefValue) {
			t.Errorf("%s: default %s is not told", name, f.DefValue)
		}
	})
}

func FuzzParseAllowList(f *testing.F) {
	f.Add("10.0.0.0/8, ::1;name\r\n192.0.2.1")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseAllowList(s)
		if err != nil {
			return
		}
		// What was understood, written out again, means the same.
		var fields []string
		for _, e := range list.Entries {
			if e.Name != "" {
				fields = append(fields, e.Name)
			} else {
				fields = append(fields, e.Prefix.String())
			}
		}
		again, err := parseAllowList(strings.Join(fields, ","))
		if err != nil && len(s) < maxAllowList/4 {
			t.Fatalf("%q: %v", fields, err)
		}
		if err == nil && !cmp.Equal(list, again, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })) {
			t.Fatalf("%v became %v", list, again)
		}
	})
}
