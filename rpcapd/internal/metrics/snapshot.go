// Package metrics shows the daemon's counters to Prometheus.
package metrics

import (
	"time"

	"capstan/rpcapd/internal/auth"
	"capstan/rpcapd/internal/pump"
)

// Refusal tells why a connection was refused.
type Refusal uint8

// The refusals; their names are label values.
const (
	RefusedFull     Refusal = iota // as many sessions as allowed; also one that had to make room
	RefusedHost                    // not in the allow list
	RefusedUser                    // unix socket: a user who may not
	RefusedTLS                     // a TLS client on a plain port
	RefusedPlain                   // a plain client on a TLS port
	RefusedData                    // a stranger at a data listener
	RefusedHostFull                // as many sessions as one host may have
	NumRefusals
)

var refusalNames = [NumRefusals]string{"sessions_full", "host_not_allowed", "user_not_allowed", "tls_on_plain_port", "plain_on_tls_port", "data_stranger", "host_sessions_full"}

// String returns the label value.
func (r Refusal) String() string { return refusalNames[r] }

// Snapshot is what the daemon counted since its start. Nothing in it goes back
// but Sessions, Rings, RingBytes and, by a frame or two under way, the filtered and matched frames.
type Snapshot struct {
	Sessions       int    // that are open now
	Rings          int    // likewise
	RingBytes      int64  // of memory that they take
	SessionsTotal  uint64 // that were opened
	Frames         pump.Stats
	Refused        [NumRefusals]uint64
	ProtocolErrors uint64
	Logins         uint64
	FailedLogins   [auth.NumRefusals]uint64
	OpensDenied    uint64 // devices that clients may not open
	FiltersKernel  uint64 // client filters that run in the kernel
	FiltersUser    uint64 // client filters that run in user space
	FiltersDelayed uint64 // requests that waited since their session loads filters too often
	TLSFailures    uint64 // handshakes that failed

	// What the parts beside the sessions add.
	CertificateExpiry      time.Time // zero without TLS
	AuditFailures          uint64    // events that were not written
	Reloads, FailedReloads uint64    // of files, at SIGHUP
}
