// Package config reads the daemon's command line.
package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"capstan/rpcapd/internal/unixsock"
)

// Config is what the command line says.
type Config struct {
	Address        string // to listen on; empty is every address
	Port           string // number or service name
	IPv4Only       bool
	NullAuth       bool
	Allow          AllowList
	Debug          bool
	TCP            bool   // serve TCP
	UnixSocket     string // path; empty is none
	UnixUIDs       []uint32
	UnixGIDs       []uint32
	MetricsAddress string // HOST:PORT; empty is none
	RingMiB        int
	MaxSessions    int
	LogJSON        bool
	Version        bool     // print the version and do nothing else
	Help           bool     // print the usage and do nothing else
	Ignored        []string // arguments that are no options; the reference ignores them
}

// DefaultPort is the port of the protocol.
const DefaultPort = "2002"

// Bounds and defaults of the numbers.
const (
	defaultRingMiB     = 32
	minRingMiB         = 2
	maxRingMiB         = 4096
	defaultMaxSessions = 64
	maxMaxSessions     = 65536
)

// Values of --log-format.
const (
	formatText = "text"
	formatJSON = "json"
)

// values are the flags as pflag fills them in.
type values struct {
	Config
	allow, uids, gids, logFormat string
}

func (v *values) flagSet() *pflag.FlagSet {
	f := pflag.NewFlagSet("rpcapd", pflag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.SortFlags = false
	f.StringVarP(&v.Address, "bind", "b", "", "")
	f.StringVarP(&v.Port, "port", "p", DefaultPort, "")
	f.BoolVarP(&v.IPv4Only, "ipv4", "4", false, "")
	f.BoolVarP(&v.NullAuth, "null-auth", "n", false, "")
	f.StringVarP(&v.allow, "allow", "l", "", "")
	f.BoolVarP(&v.Debug, "debug", "D", false, "")
	f.StringVar(&v.UnixSocket, "unix-socket", "", "")
	f.StringVar(&v.uids, "unix-allow-uid", "", "")
	f.StringVar(&v.gids, "unix-allow-gid", "", "")
	f.StringVar(&v.MetricsAddress, "metrics-address", "", "")
	f.IntVar(&v.RingMiB, "ring-size", defaultRingMiB, "")
	f.IntVar(&v.MaxSessions, "max-sessions", defaultMaxSessions, "")
	f.StringVar(&v.logFormat, "log-format", formatText, "")
	f.BoolVar(&v.Version, "version", false, "")
	f.BoolVarP(&v.Help, "help", "h", false, "")
	return f
}

// Parse reads the arguments, without the program's name. The error tells
// everything that is wrong with them.
func Parse(args []string) (Config, error) {
	var v values
	flags := v.flagSet()
	if err := flags.Parse(args); err != nil {
		return Config{}, err
	}
	v.Ignored = flags.Args()
	if v.Help || v.Version {
		return v.Config, nil
	}
	v.TCP = v.UnixSocket == "" || flags.Changed("bind") || flags.Changed("port")
	var errs []error
	bad := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	var err error
	v.Allow, err = parseAllowList(v.allow)
	bad(err)
	v.UnixUIDs, err = parseIDs("unix-allow-uid", v.uids)
	bad(err)
	v.UnixGIDs, err = parseIDs("unix-allow-gid", v.gids)
	bad(err)
	bad(v.validate(flags))
	if v.uids == "" {
		v.UnixUIDs = []uint32{0, uint32(os.Geteuid())}
	}
	v.LogJSON = v.logFormat == formatJSON
	return v.Config, errors.Join(errs...)
}

// dataSuffixLen is the length of what a data socket's path has more than the
// control socket's: a dot and a port.
const dataSuffixLen = len(".65535")

func (v *values) validate(flags *pflag.FlagSet) error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if v.RingMiB < minRingMiB || v.RingMiB > maxRingMiB {
		bad("--ring-size %d is not from %d to %d", v.RingMiB, minRingMiB, maxRingMiB)
	}
	if v.MaxSessions < 1 || v.MaxSessions > maxMaxSessions {
		bad("--max-sessions %d is not from 1 to %d", v.MaxSessions, maxMaxSessions)
	}
	if v.logFormat != formatText && v.logFormat != formatJSON {
		bad("--log-format %q is neither %s nor %s", v.logFormat, formatText, formatJSON)
	}
	if v.Port == "" {
		bad("-p needs a port")
	}
	if flags.Changed("unix-socket") && (v.UnixSocket == "" || strings.ContainsAny(v.UnixSocket, "\x00@")) {
		bad("--unix-socket %q is no path of a file", v.UnixSocket)
	}
	if limit := unixsock.MaxPath - dataSuffixLen; len(v.UnixSocket) > limit {
		bad("--unix-socket: path is longer than %d bytes", limit)
	}
	if v.UnixSocket == "" && (v.uids != "" || v.gids != "") {
		bad("--unix-allow-uid and --unix-allow-gid need --unix-socket")
	}
	if v.MetricsAddress != "" {
		if _, _, err := net.SplitHostPort(v.MetricsAddress); err != nil {
			bad("--metrics-address: %w", err)
		}
	}
	return errors.Join(errs...)
}

func parseIDs(flag, s string) (ids []uint32, err error) {
	if s == "" {
		return nil, nil
	}
	for field := range strings.SplitSeq(s, ",") {
		id, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("--%s: %q is no number from 0 to 4294967295", flag, field)
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}
