package config

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func defaults() Config {
	c := Default()
	c.TCP, c.UnixUIDs = true, []uint32{0, uint32(os.Geteuid())}
	return c
}

var comparable = cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		args   string
		change func(*Config)
	}{
		{"", func(*Config) {}},
		{"-n4D", func(c *Config) { c.NullAuth, c.IPv4Only, c.Debug = true, true, true }},
		{"-np2003 -b ::1", func(c *Config) { c.NullAuth, c.Port, c.Address = true, "2003", "::1" }},
		{"-p 1 -p 2", func(c *Config) { c.Port = "2" }},
		{"-p=1", func(c *Config) { c.Port = "=1" }},
		{"stray -n", func(c *Config) {
			c.NullAuth, c.Warnings = true, []string{`arguments that are no options are ignored: ["stray"]`}
		}},
		{"-n -- -4", func(c *Config) {
			c.NullAuth, c.Warnings = true, []string{`arguments that are no options are ignored: ["-4"]`}
		}},
		{"-a h", func(c *Config) { c.Active = []Target{{"h", "2003"}} }},
		{"-a a,1;b,DEFAULT,c -a d,2", func(c *Config) { c.Active = []Target{{"d", "2"}, {"b", "2003"}, {"c", "2003"}} }},
		{"-a " + strings.Repeat("h,1,", 11), func(c *Config) {
			for range MaxTargets {
				c.Active = append(c.Active, Target{"h", "1"})
			}
			c.Warnings = []string{"Only 10 active connections are currently supported."}
		}},
		{"-va h", func(c *Config) { c.ActiveOnly, c.TCP, c.Active = true, false, []Target{{"h", "2003"}} }},
		{"-v", func(c *Config) {
			c.ActiveOnly, c.TCP, c.Warnings = true, false, []string{"-v without -a: no client can connect, and none is connected to"}
		}},
		{"-v -f b", func(c *Config) { c.ActiveOnly, c.TCP, c.LoadFile = true, false, "b" }},
		{"-K k", func(c *Config) {
			c.TLSKey, c.Warnings = "k", []string{"-K and -X do nothing without -S: connections are not encrypted"}
		}},
		{"-t 5555 -dD -s a -f b", func(c *Config) {
			c.DataPort, c.Daemonize, c.Debug, c.SaveFile, c.LoadFile = "5555", true, true, "a", "b"
		}},
		{"-iSCK k -Xc", func(c *Config) {
			c.Inetd, c.TLS, c.Compress, c.TLSKey, c.TLSCertificate = true, true, true, "k", "c"
		}},
		{"--unix-socket /run/s", func(c *Config) { c.UnixSocket, c.TCP = "/run/s", false }},
		{"--unix-socket /run/s -p 2002", func(c *Config) { c.UnixSocket = "/run/s" }},
		{"--unix-socket /run/s -b ::", func(c *Config) { c.UnixSocket, c.Address = "/run/s", "::" }},
		{"--unix-socket /run/s --unix-allow-uid 1,2 --unix-allow-gid=3", func(c *Config) {
			c.UnixSocket, c.TCP, c.UnixUIDs, c.UnixGIDs = "/run/s", false, []uint32{1, 2}, []uint32{3}
		}},
		{"--metrics-address 127.0.0.1:9 --ring-size 8 --max-sessions 3 --log-format json --max-sessions-per-h 2", func(c *Config) {
			c.MetricsAddress, c.RingMiB, c.MaxSessions, c.LogFormat, c.MaxPerHost = "127.0.0.1:9", 8, 3, LogJSON, 2
		}},
		{"--initial-timeout 1s --idle-timeout=2m --data-timeout 3s --reconnect-time 4s --pid-file /p", func(c *Config) {
			c.InitialTimeout, c.IdleTimeout, c.DataTimeout, c.ReconnectTime = time.Second, 2*time.Minute, 3*time.Second, 4*time.Second
			c.PIDFile = "/p"
		}},
		{"-l 10.1.2.3/8,name;::1", func(c *Config) {
			c.Allow.Entries = []AllowEntry{
				{"10.1.2.3/8", netip.MustParsePrefix("10.0.0.0/8")}, {Text: "name"}, {"::1", netip.MustParsePrefix("::1/128")},
			}
		}},
	} {
		want := defaults()
		tc.change(&want)
		got, err := Parse(strings.Fields(tc.args))
		if diff := cmp.Diff(want, got, comparable); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", tc.args, err, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"-Z":                                   "invalid option -- 'Z'",
		"-nZp":                                 "invalid option -- 'Z'",
		"--no-such":                            "unrecognized option '--no-such'",
		"--max":                                "option '--max' is ambiguous; possibilities: '--max-sessions' '--max-sessions-per-host'",
		"--version=1":                          "option '--version' doesn't allow an argument",
		"-p":                                   "option requires an argument -- 'p'",
		"-np":                                  "option requires an argument -- 'p'",
		"--ring-size":                          "option '--ring-size' requires an argument",
		"--ring-size x":                        `--ring-size: "x" is no number`,
		"--idle-timeout 0s":                    `--idle-timeout: "0s" is no time`,
		"-di":                                  "-d and -i can't be used together",
		"--ring-size 1":                        "--ring-size 1 is not from 2 to 4096",
		"--max-sessions 0":                     "--max-sessions 0",
		"--max-sessions-per-host 0":            "--max-sessions-per-host 0",
		"--log-format xml":                     `--log-format "xml"`,
		"-l 10.0.0.0/33":                       `"10.0.0.0/33" is no prefix`,
		"--unix-allow-uid x --unix-socket /s":  `"x" is no number`,
		"--unix-allow-gid 1":                   "need --unix-socket",
		"--metrics-address 9100":               "--metrics-address",
		"--unix-socket=":                       "is no path",
		"--policy=":                            "--policy: the value is empty",
		"--credentials=":                       "--credentials: the value is empty",
		"--audit-log=":                         "--audit-log: the value is empty",
		"--tls-client-ca= -S":                  "--tls-client-ca: the value is empty",
		"--unix-allow-uid= --unix-socket /s":   "--unix-allow-uid: the value is empty",
		"--unix-socket " + long:                "path is longer than",
		"--ring-size 1 --max-sessions=9999999": "--max-sessions 9999999",
	} {
		if _, err := Parse(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %s", args, err, want)
		}
	}
}

var long = "/" + strings.Repeat("x", 120)

// The usage text names every option with its argument.
func TestUsageIsComplete(t *testing.T) {
	for _, o := range options {
		name := "--" + o.long
		if o.short != 0 {
			name = fmt.Sprintf("\n  -%c", o.short)
			if o.long != "" {
				name += ", --" + o.long
			}
		}
		if o.arg != "" {
			name += " " + o.arg
		}
		if !strings.Contains(Usage, name) {
			t.Errorf("nothing about %q", name)
		}
	}
	d := Default()
	for _, value := range []any{d.Port, d.TLSKey, d.TLSCertificate, d.RingMiB, d.MaxSessions, d.MaxPerHost, d.InitialTimeout, d.IdleTimeout,
		d.DataTimeout, d.ReconnectTime, d.LogFormat} {
		if !strings.Contains(Usage, fmt.Sprintf("(default: %v)", value)) {
			t.Errorf("default %v is not told", value)
		}
	}
}

func FuzzParseAllowList(f *testing.F) {
	f.Add("10.0.0.0/8, ::1;name\r\n192.0.2.1")
	f.Fuzz(func(t *testing.T, s string) {
		list, err := parseAllowList(s)
		if err != nil {
			return
		}
		// What was understood, written out again, means the same.
		again, err := parseAllowList(list.String())
		if err != nil {
			t.Fatalf("%q: %v", list.String(), err)
		}
		if !cmp.Equal(list, again, comparable) {
			t.Fatalf("%v became %v", list, again)
		}
	})
}
