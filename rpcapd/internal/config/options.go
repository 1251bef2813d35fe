package config

import (
	"fmt"
	"strconv"
	"time"
)

// options is the command line. What the reference has is a letter; what it has
// not is long, so that no letter ever means two things.
var options = []option{
	{short: 'b', arg: "ADDRESS", set: text(func(v *values) *string { return &v.Address })},
	{short: 'p', arg: "PORT", set: func(v *values, s string) error { v.Port, v.portSet = s, true; return nil }},
	{short: 't', arg: "PORT", set: text(func(v *values) *string { return &v.DataPort })},
	{short: '4', set: flag(func(v *values) *bool { return &v.IPv4Only })},
	{short: 'l', arg: "LIST", set: func(v *values, s string) error { v.allow, v.allowSet = s, true; return nil }},
	{short: 'n', set: flag(func(v *values) *bool { return &v.NullAuth })},
	{short: 'a', arg: "HOST,PORT[,HOST,PORT]...", set: func(v *values, s string) error { v.setTargets(s); return nil }},
	{short: 'v', set: flag(func(v *values) *bool { return &v.ActiveOnly })},
	{short: 'd', set: flag(func(v *values) *bool { return &v.Daemonize })},
	{short: 'i', set: flag(func(v *values) *bool { return &v.Inetd })},
	{short: 'D', set: flag(func(v *values) *bool { return &v.Debug })},
	{short: 's', arg: "FILE", set: text(func(v *values) *string { return &v.SaveFile })},
	{short: 'f', arg: "FILE", set: text(func(v *values) *string { return &v.LoadFile })},
	{short: 'S', set: flag(func(v *values) *bool { return &v.TLS })},
	{short: 'K', arg: "FILE", set: text(func(v *values) *string { return &v.TLSKey })},
	{short: 'X', arg: "FILE", set: text(func(v *values) *string { return &v.TLSCertificate })},
	{short: 'C', set: flag(func(v *values) *bool { return &v.Compress })},
	{short: 'h', long: "help", set: flag(func(v *values) *bool { return &v.Help })},

	{long: "version", set: flag(func(v *values) *bool { return &v.Version })},
	{long: "unix-socket", arg: "PATH", set: func(v *values, s string) error { v.UnixSocket, v.unixSet = s, true; return nil }},
	{long: "unix-allow-uid", arg: "N[,N]...", set: value("unix-allow-uid", func(v *values) *string { return &v.uids })},
	{long: "unix-allow-gid", arg: "N[,N]...", set: value("unix-allow-gid", func(v *values) *string { return &v.gids })},
	{long: "tls-client-ca", arg: "FILE", set: value("tls-client-ca", func(v *values) *string { return &v.TLSClientCA })},
	{long: "tls-require-client-cert", set: flag(func(v *values) *bool { return &v.RequireCert })},
	{long: "credentials", arg: "FILE", set: value("credentials", func(v *values) *string { return &v.Credentials })},
	{long: "policy", arg: "FILE", set: value("policy", func(v *values) *string { return &v.Policy })},
	{long: "capture-group", arg: "NAME", set: value("capture-group", func(v *values) *string { return &v.CaptureGroup })},
	{long: "audit-log", arg: "FILE", set: value("audit-log", func(v *values) *string { return &v.AuditLog })},
	{long: "metrics-address", arg: "HOST:PORT", set: value("metrics-address", func(v *values) *string { return &v.MetricsAddress })},
	{long: "ring-size", arg: "MIB", set: number("ring-size", func(v *values) *int { return &v.RingMiB })},
	{long: "max-sessions", arg: "N", set: number("max-sessions", func(v *values) *int { return &v.MaxSessions })},
	{long: "max-sessions-per-host", arg: "N", set: number("max-sessions-per-host", func(v *values) *int { return &v.MaxPerHost })},
	{long: "initial-timeout", arg: "TIME", set: duration("initial-timeout", func(v *values) *time.Duration { return &v.InitialTimeout })},
	{long: "idle-timeout", arg: "TIME", set: duration("idle-timeout", func(v *values) *time.Duration { return &v.IdleTimeout })},
	{long: "data-timeout", arg: "TIME", set: duration("data-timeout", func(v *values) *time.Duration { return &v.DataTimeout })},
	{long: "reconnect-time", arg: "TIME", set: duration("reconnect-time", func(v *values) *time.Duration { return &v.ReconnectTime })},
	{long: "pid-file", arg: "FILE", set: value("pid-file", func(v *values) *string { return &v.PIDFile })},
	{long: "tell-host-access", set: flag(func(v *values) *bool { return &v.TellHostAccess })},
	{long: "log-format", arg: "FORMAT", set: value("log-format", func(v *values) *string { return (*string)(&v.LogFormat) })},
}

func text(field func(*values) *string) func(*values, string) error {
	return func(v *values, s string) error { *field(v) = s; return nil }
}

// value is text that isn't empty. An option like --policy "$FILE" must not mean
// that there is no policy when the variable is empty.
func value(name string, field func(*values) *string) func(*values, string) error {
	return func(v *values, s string) error {
		if s == "" {
			return fmt.Errorf("--%s: the value is empty", name)
		}
		*field(v) = s
		return nil
	}
}

func flag(field func(*values) *bool) func(*values, string) error {
	return func(v *values, _ string) error { *field(v) = true; return nil }
}

func number(name string, field func(*values) *int) func(*values, string) error {
	return func(v *values, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil {
			return fmt.Errorf("--%s: %q is no number", name, s)
		}
		*field(v) = n
		return nil
	}
}

func duration(name string, field func(*values) *time.Duration) func(*values, string) error {
	return func(v *values, s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return fmt.Errorf("--%s: %q is no time such as 90s or 2m", name, s)
		}
		*field(v) = d
		return nil
	}
}
