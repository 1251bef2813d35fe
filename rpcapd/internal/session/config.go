package session

import (
	"crypto/tls"
	"sync/atomic"
	"time"

	"capstan/pkg/capture"
	"capstan/pkg/pcapfilter"
	"capstan/pkg/rpcap"
	"capstan/rpcapd/internal/audit"
	"capstan/rpcapd/internal/auth"
	"capstan/rpcapd/internal/device"
	"capstan/rpcapd/internal/pump"
)

// Config is what all sessions of a listener share.
type Config struct {
	// NullAuth accepts clients that present no credentials.
	NullAuth bool
	// MaxAuthAttempts closes the connection after so many failed logins; 0 = 5.
	MaxAuthAttempts int
	// Active says that the daemon has made the control connection: then it
	// makes the data connections, too, and waits for messages without limit.
	Active bool
	// Trusted says that the kernel has told who the client is, and that it may
	// do everything.
	Trusted bool
	// Access decides about logins; nil knows no users.
	Access Access
	// CompileFilter is for the filters that Access and names of devices impose;
	// nil is pcapfilter.Compile.
	CompileFilter CompileFilter
	// Audit is the record of what clients do; nil keeps none.
	Audit *audit.Log
	// TLS is spoken on both connections, and nothing else, unless it is nil.
	TLS      *tls.Config
	Timeouts Timeouts
}

// Timeouts of a session; a zero value has the default.
type Timeouts struct {
	Initial     time.Duration // from accept to the end of authentication; 90 s
	Idle        time.Duration // between requests while no capture runs; 180 s
	Message     time.Duration // from a message's first byte to its last; 30 s
	Write       time.Duration // for one answer; 10 s
	Handshake   time.Duration // of TLS, on either connection; 30 s
	DataAccept  time.Duration // for the client to open the data connection; 30 s
	AuthPause   time.Duration // after a wrong password; 1 s
	Uncounted   time.Duration // for an instruction that STARTCAP's length doesn't count; 250 ms
	CloseLinger time.Duration // for the client to read the last ERROR; 1 s
}

const defaultMaxAuthAttempts = 5

// defaultTimeouts are the reference's where it has any.
var defaultTimeouts = Timeouts{
	Initial:     90 * time.Second,
	Idle:        180 * time.Second,
	Message:     30 * time.Second,
	Write:       10 * time.Second,
	Handshake:   30 * time.Second,
	DataAccept:  30 * time.Second,
	AuthPause:   time.Second,
	Uncounted:   250 * time.Millisecond,
	CloseLinger: time.Second,
}

func (c Config) withDefaults() Config {
	if c.Access == nil {
		c.Access = noUsers{}
	}
	if c.MaxAuthAttempts == 0 {
		c.MaxAuthAttempts = defaultMaxAuthAttempts
	}
	for _, t := range []struct {
		value    *time.Duration
		standard time.Duration
	}{
		{&c.Timeouts.Initial, defaultTimeouts.Initial},
		{&c.Timeouts.Idle, defaultTimeouts.Idle},
		{&c.Timeouts.Message, defaultTimeouts.Message},
		{&c.Timeouts.Write, defaultTimeouts.Write},
		{&c.Timeouts.Handshake, defaultTimeouts.Handshake},
		{&c.Timeouts.DataAccept, defaultTimeouts.DataAccept},
		{&c.Timeouts.AuthPause, defaultTimeouts.AuthPause},
		{&c.Timeouts.Uncounted, defaultTimeouts.Uncounted},
		{&c.Timeouts.CloseLinger, defaultTimeouts.CloseLinger},
	} {
		if *t.value == 0 {
			*t.value = t.standard
		}
	}
	if c.CompileFilter == nil {
		c.CompileFilter = pcapfilter.Compile
	}
	return c
}

// Host is the machine that sessions capture on; device.Host is the real one.
// The texts of its errors go to the client.
type Host interface {
	Interfaces() ([]rpcap.Interface, error)
	// Probe tells whether a device can be opened, and its link type.
	Probe(d rpcap.Device) (capture.LinkType, error)
	// Open opens a device; nothing passes until its filter is set.
	Open(d rpcap.Device, o device.Options) (pump.Input, error)
}

// Counters are what all sessions of a daemon count together.
type Counters struct {
	ProtocolErrors   atomic.Uint64 // messages refused because they break the protocol
	DataRefused      atomic.Uint64 // data connections of strangers
	FilterLoads      atomic.Uint64 // client filters that run in the kernel
	FilterFallbacks  atomic.Uint64 // client filters that run in user space
	FiltersDelayed   atomic.Uint64 // requests that waited since their session loads filters too often
	Logins           atomic.Uint64 // that succeeded
	FailedLogins     [auth.NumRefusals]atomic.Uint64
	OpensDenied      atomic.Uint64 // devices that clients may not open
	sessions         atomic.Uint64 // numbers them
	refusals         refusalLines
	UnwantedTLSHello atomic.Uint64 // TLS clients on a plain port
	UnwantedPlain    atomic.Uint64 // plain clients on a TLS port
	TLSFailures      atomic.Uint64 // handshakes that failed, on either connection
}
