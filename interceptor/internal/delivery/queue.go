package delivery

import (
	"fmt"
	"log/slog"
	"time"

	"capstan/interceptor/internal/spool"
)

// Policy is what a queue does when it is full.
type Policy uint8

// The policies.
const (
	Block      Policy = iota // whoever emits waits
	DropOldest               // the oldest record in the queue is dropped
	Spool                    // records go to disk; when that is full, new ones are dropped
)

// String names the policy as in a configuration.
func (p Policy) String() string {
	switch p {
	case Block:
		return "block"
	case DropOldest:
		return "drop-oldest"
	case Spool:
		return "spool"
	}
	return fmt.Sprintf("policy %d", uint8(p))
}

// ParsePolicy is the inverse of String.
func ParsePolicy(s string) (Policy, error) {
	for _, p := range []Policy{Block, DropOldest, Spool} {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, fmt.Errorf("policy %q is none of block, drop-oldest, spool", s)
}

// Config of a [Queue]. What is zero has the default named.
type Config struct {
	Name   string // of the sink, unique
	Kind   string // of the sink, for who reads Stats
	Policy Policy
	// Form is what the sink appends records in; nil if it takes them as they are.
	Form *Form
	// FormAlone says that the sink needs nothing of a record but Form, of which it
	// makes a copy, or has made use when Deliver returns. Records that nobody needs
	// otherwise are in no other form then.
	FormAlone bool
	// MaxRecords and MaxBytes bound the queue in memory; 10,000 and DefaultMaxBytes.
	MaxRecords int
	MaxBytes   int
	// BatchRecords bounds a batch, beside its bytes; 500.
	BatchRecords int
	// RetryMin and RetryMax bound the pause before a batch is delivered again,
	// which doubles from one to the other; 100 ms and 30 s.
	RetryMin, RetryMax time.Duration
	// Spool says where and how much, for the policy Spool.
	Spool spool.Options
	// Log is told when the sink fails and when it works again; nil = nobody.
	Log *slog.Logger
}

// DefaultMaxBytes is the default of [Config].MaxBytes.
const DefaultMaxBytes = 64 << 20

// batchBytes bounds a batch. One record may be longer.
const batchBytes = 1 << 20

func (c Config) withDefaults() Config {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&c.MaxRecords, 10_000)
	set(&c.MaxBytes, DefaultMaxBytes)
	set(&c.BatchRecords, 500)
	if c.RetryMin <= 0 {
		c.RetryMin = 100 * time.Millisecond
	}
	if c.RetryMax <= 0 {
		c.RetryMax = 30 * time.Second
	}
	c.RetryMax = max(c.RetryMax, c.RetryMin)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Stats are the counters of a queue, in records. At any time
//
//	Accepted + Recovered = Delivered + Dropped + Shed + Rejected + SpoolFull + SpoolLost + Queued + Spooled
type Stats struct {
	Accepted  uint64 // by Emit
	Recovered uint64 // found in the spool at the start

	Delivered uint64 // taken by the sink
	Dropped   uint64 // by the policy DropOldest, and what was in memory at the end
	// Undelivered are those of Dropped that no policy has chosen: at the end.
	Undelivered uint64
	Shed        uint64 // by the policy DropOldest, since memory was short
	Rejected    uint64 // never taken by the sink
	SpoolFull   uint64 // dropped since the spool was full or could not be written
	SpoolLost   uint64 // in damaged parts of the spool
	Queued      uint64 // in memory now
	Spooled     uint64 // on disk now, and not in memory

	QueuedBytes int           // of the records in memory
	SpoolBytes  int64         // on disk
	Cut         uint64        // of Delivered, those that lack what was too long
	Retries     uint64        // batches that were delivered again
	Blocked     time.Duration // that emitters have waited
	Failing     bool          // the last delivery failed, or the sink is not open yet
	Problem     string        // why, if it fails

	// What the queue is, and what bounds it.
	Kind          string
	Policy        Policy
	MaxRecords    int
	MaxBytes      int
	MaxSpoolBytes int64 // 0 without a spool
}

// Lost is how many records the sink will never have.
func (s *Stats) Lost() uint64 { return s.Dropped + s.Shed + s.Rejected + s.SpoolFull + s.SpoolLost }

// Balanced reports whether the equation holds.
func (s *Stats) Balanced() bool {
	return s.Accepted+s.Recovered == s.Delivered+s.Lost()+s.Queued+s.Spooled
}

// followedBy returns the counters of two queues of one name, of which next
// follows s: what it recovered is what s left on disk.
func (s Stats) followedBy(next Stats) Stats {
	again := min(s.Spooled, next.Recovered)
	s.Spooled -= again
	next.Recovered -= again
	next.Accepted += s.Accepted
	next.Recovered += s.Recovered
	next.Delivered += s.Delivered
	next.Dropped += s.Dropped
	next.Undelivered += s.Undelivered
	next.Shed += s.Shed
	next.Rejected += s.Rejected
	next.Cut += s.Cut
	next.SpoolFull += s.SpoolFull
	next.SpoolLost += s.SpoolLost
	next.Queued += s.Queued
	next.Spooled += s.Spooled
	next.Retries += s.Retries
	next.Blocked += s.Blocked
	return next
}
