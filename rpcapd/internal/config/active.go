package config

import (
	"fmt"
	"net"
	"strings"
)

// Target is a client that the daemon connects to in active mode.
type Target struct {
	Host, Port string // name or address; number or service name
}

// String returns HOST:PORT.
func (t Target) String() string { return net.JoinHostPort(t.Host, t.Port) }

const (
	// DefaultActivePort is the port that clients await active daemons on.
	DefaultActivePort = "2003"
	// MaxTargets is how many targets there may be (MAX_ACTIVE_LIST).
	MaxTargets = 10
	// defaultPortWord stands for the default port where a port is expected.
	defaultPortWord = "DEFAULT"
)

func targetPort(s string) string {
	if s == defaultPortWord {
		return DefaultActivePort
	}
	return s
}

// setTargets takes an argument of -a: hosts and ports by turns; only the last
// port may be missing. As in the reference, a further -a overwrites targets
// from the first on and leaves the rest. Deviation: the reference drops what is
// too much without a word.
func (v *values) setTargets(s string) {
	fields := strings.FieldsFunc(s, isListSeparator)
	if len(fields)%2 == 1 {
		fields = append(fields, defaultPortWord)
	}
	if len(fields) > 2*MaxTargets {
		v.warn(fmt.Sprintf("Only %d active connections are currently supported.", MaxTargets))
		fields = fields[:2*MaxTargets]
	}
	for i := 0; i < len(fields); i += 2 {
		target := Target{Host: fields[i], Port: targetPort(fields[i+1])}
		if i/2 < len(v.Active) {
			v.Active[i/2] = target
		} else {
			v.Active = append(v.Active, target)
		}
	}
}
