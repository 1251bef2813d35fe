// Package config reads the daemon's command line and configuration file.
package config

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"capstan/pkg/unixsock"
)

// Config is what the command line says.
type Config struct {
	Settings
	Address        string // to listen on; empty is every address
	Port           string // number or service name
	DataPort       string // number or service name; empty: the kernel chooses one for each capture
	IPv4Only       bool   // for listening and for active mode
	ActiveOnly     bool   // don't listen
	Daemonize      bool
	Inetd          bool // serve the connection on standard input, nothing else
	Debug          bool
	SaveFile       string // configuration file to write; empty is none
	LoadFile       string // configuration file to read; empty is none
	TLS            bool   // speak nothing but TLS
	TLSKey         string // file
	TLSCertificate string // file
	Compress       bool   // without effect, as in the reference
	TLSClientCA    string // file of whoever signs the clients' certificates; empty: they aren't asked for any
	RequireCert    bool   // refuse clients without a certificate
	Credentials    string // file of users and hashes; empty: the system's accounts
	Policy         string // file of what users may do; empty is none
	CaptureGroup   string // system group whose members may do everything; empty is none
	AuditLog       string // file; empty is none
	TCP            bool   // serve TCP
	UnixSocket     string // path; empty is none
	UnixUIDs       []uint32
	UnixGIDs       []uint32
	MetricsAddress string // HOST:PORT; empty is none
	RingMiB        int
	MaxSessions    int
	MaxPerHost     int           // sessions of one peer address
	InitialTimeout time.Duration // from accept to the end of authentication
	IdleTimeout    time.Duration // between requests while no capture runs
	DataTimeout    time.Duration // for the client to open the data connection
	ReconnectTime  time.Duration // between attempts to connect in active mode
	PIDFile        string        // empty is none
	TellHostAccess bool          // warn of what a pod was not given of its host
	LogFormat      LogFormat
	Version        bool     // print the version and do nothing else
	Help           bool     // print the usage and do nothing else
	Warnings       []string // what to tell in the log
}

// Settings are what the configuration file may change while the daemon runs.
type Settings struct {
	NullAuth bool
	Allow    AllowList
	Active   []Target // at most MaxTargets
}

// LogFormat is a value of --log-format.
type LogFormat string

// The formats. LogPlain is the reference's.
const (
	LogPlain LogFormat = "plain"
	LogText  LogFormat = "text"
	LogJSON  LogFormat = "json"
)

// DefaultPort is the port of the protocol.
const DefaultPort = "2002"

// Bounds of the numbers.
const (
	minRingMiB     = 2
	maxRingMiB     = 4096
	maxMaxSessions = 65536
)

// Default returns what holds without any option.
func Default() Config {
	return Config{
		Port: DefaultPort, TLSKey: "key.pem", TLSCertificate: "cert.pem", RingMiB: 32, MaxSessions: 64, MaxPerHost: 32,
		InitialTimeout: 90 * time.Second, IdleTimeout: 180 * time.Second, DataTimeout: 30 * time.Second, ReconnectTime: 30 * time.Second,
		LogFormat: LogPlain,
	}
}

// values are the options as they are filled in.
type values struct {
	Config
	allow, uids, gids string
	portSet, unixSet  bool
	allowSet          bool
}

func (v *values) warn(text string) { v.Warnings = append(v.Warnings, text) }

// Parse reads the arguments, without the program's name. The error of a word
// that is no option is getopt's; otherwise it tells everything that is wrong
// with the values.
func Parse(args []string) (Config, error) {
	v := values{Config: Default()}
	rest, err := getopt(options, args, &v)
	if err != nil {
		return Config{}, err
	}
	if v.Help || v.Version {
		return v.Config, nil
	}
	if len(rest) > 0 {
		v.warn(fmt.Sprintf("arguments that are no options are ignored: %q", rest))
	}
	v.warnOfIgnored()
	v.TCP = !v.ActiveOnly && (v.UnixSocket == "" || v.Address != "" || v.portSet)
	var errs []error
	v.Allow, err = parseAllowList(v.allow)
	errs = append(errs, err)
	v.UnixUIDs, err = parseIDs("unix-allow-uid", v.uids)
	errs = append(errs, err)
	v.UnixGIDs, err = parseIDs("unix-allow-gid", v.gids)
	errs = append(errs, err)
	if v.uids == "" {
		v.UnixUIDs = []uint32{0, uint32(os.Geteuid())}
	}
	return v.Config, errors.Join(append(errs, v.validate())...)
}

// warnOfIgnored warns of options that do nothing, by themselves or as long as
// another is missing.
func (v *values) warnOfIgnored() {
	if v.allowSet && v.allow == "" { // as the reference has it
		v.warn("-l names no host: every host may connect")
	}
	if unused := Default(); !v.TLS && (v.TLSKey != unused.TLSKey || v.TLSCertificate != unused.TLSCertificate) {
		v.warn("-K and -X do nothing without -S: connections are not encrypted")
	}
	if v.ActiveOnly && len(v.Active) == 0 && v.LoadFile == "" && v.UnixSocket == "" {
		v.warn("-v without -a: no client can connect, and none is connected to")
	}
}

// dataSuffixLen is the length of what a data socket's path has more than the
// control socket's: a dot and a port.
const dataSuffixLen = len(".65535")

func (v *values) validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if v.Daemonize && v.Inetd {
		bad("-d and -i can't be used together")
	}
	if v.RingMiB < minRingMiB || v.RingMiB > maxRingMiB {
		bad("--ring-size %d is not from %d to %d", v.RingMiB, minRingMiB, maxRingMiB)
	}
	if v.MaxSessions < 1 || v.MaxSessions > maxMaxSessions {
		bad("--max-sessions %d is not from 1 to %d", v.MaxSessions, maxMaxSessions)
	}
	if v.MaxPerHost < 1 || v.MaxPerHost > maxMaxSessions {
		bad("--max-sessions-per-host %d is not from 1 to %d", v.MaxPerHost, maxMaxSessions)
	}
	if v.LogFormat != LogPlain && v.LogFormat != LogText && v.LogFormat != LogJSON {
		bad("--log-format %q is none of %s, %s and %s", v.LogFormat, LogPlain, LogText, LogJSON)
	}
	if v.Port == "" {
		bad("-p needs a port")
	}
	if v.MetricsAddress != "" {
		if _, _, err := net.SplitHostPort(v.MetricsAddress); err != nil {
			bad("--metrics-address: %w", err)
		}
	}
	if v.TLSClientCA != "" && !v.TLS {
		bad("--tls-client-ca needs -S")
	}
	if v.RequireCert && v.TLSClientCA == "" {
		bad("--tls-require-client-cert needs --tls-client-ca")
	}
	return errors.Join(append(errs, v.validateUnix())...)
}

func (v *values) validateUnix() error {
	limit := unixsock.MaxPath - dataSuffixLen
	switch {
	case v.unixSet && (v.UnixSocket == "" || strings.ContainsAny(v.UnixSocket, "\x00@")):
		return fmt.Errorf("--unix-socket %q is no path of a file", v.UnixSocket)
	case len(v.UnixSocket) > limit:
		return fmt.Errorf("--unix-socket: path is longer than %d bytes", limit)
	case v.UnixSocket == "" && (v.uids != "" || v.gids != ""):
		return errors.New("--unix-allow-uid and --unix-allow-gid need --unix-socket")
	}
	return nil
}

func parseIDs(option, s string) (ids []uint32, err error) {
	if s == "" {
		return nil, nil
	}
	for field := range strings.SplitSeq(s, ",") {
		id, err := strconv.ParseUint(field, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("--%s: %q is no number from 0 to 4294967295", option, field)
		}
		ids = append(ids, uint32(id))
	}
	return ids, nil
}
