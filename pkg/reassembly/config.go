package reassembly

import "time"

// Config bounds an assembler in time and memory. Durations are packet time. The
// zero value of a field stands for its default; nothing is unlimited.
type Config struct {
	// AckTolerance is how long after the peer's ACK a missing byte may still
	// arrive. Default 5 ms; negative: not at all.
	AckTolerance time.Duration
	// HoleTimeout is how long a hole may stay open of which no ACK tells whether
	// the peer has it. Default 1 s.
	HoleTimeout time.Duration
	// RetransmitTimeout is that for a hole that the peer still acknowledges up to,
	// so that the sender has to fill it. Default 1 min, which the longest timer of
	// a sender exceeds at most (RFC 6298 §2.5).
	RetransmitTimeout time.Duration
	// EmbryonicTimeout is for connections of which only SYNs or one end's bare
	// ACKs were seen. Default 30 s.
	EmbryonicTimeout time.Duration
	// IdleTimeout is for all others. Default 5 min.
	IdleTimeout time.Duration
	// Linger is how long a tuple is remembered after FIN or RST, and after each
	// late segment but a bare ACK, which ends nearly all. Default 5 s.
	Linger time.Duration

	// CopyWindow is how long after a packet it may be captured again, at another
	// point, and still be told from a retransmission. Default 100 ms; negative:
	// not at all, so that copies count as repeated.
	CopyWindow time.Duration
	// Overlap tells which bytes stay. Default: the first.
	Overlap Overlap
	// UrgentOutOfBand takes the urgent byte out of the stream, as Linux's and
	// other sockets do unless SO_OOBINLINE is set. Without it the byte stays, as
	// RFC 6093 asks for.
	UrgentOutOfBand bool

	// MaxHoleBytes is what may wait behind the holes of one direction. Default
	// 4 MiB: what Linux lets a sender have under way by default, all of which
	// arrives before the first loss in it is mended.
	MaxHoleBytes int
	// MaxQueuedTotal is what may wait in all. Default 64 MiB.
	//
	// Both count payload plus 64 bytes for each piece; the memory held is at
	// most twice that.
	MaxQueuedTotal int
	// MaxConnections is the number of connections known at a time, those that
	// linger included. When it is reached, the least recently active one goes.
	// Default 262,144.
	MaxConnections int
	// History is the number of the latest packets that copies and
	// retransmissions are held against; 64 bytes each, rounded up to a power of
	// two. Default 4,096, which the caches of a CPU can hold.
	History int
}

// Defaults of Config.
const (
	defaultAckTolerance      = 5 * time.Millisecond
	defaultHoleTimeout       = time.Second
	defaultRetransmitTimeout = time.Minute
	defaultEmbryonicTimeout  = 30 * time.Second
	defaultIdleTimeout       = 5 * time.Minute
	defaultLinger            = 5 * time.Second
	defaultMaxHoleBytes      = 4 << 20
	defaultMaxQueuedTotal    = 64 << 20
	defaultMaxConnections    = 1 << 18
	defaultCopyWindow        = 100 * time.Millisecond
	defaultHistory           = 1 << 12
	maxHistory               = 1 << 30
)

// DefaultConfig returns the configuration that the zero value stands for.
func DefaultConfig() Config { return Config{}.withDefaults() }

// withDefaults returns c with every default filled in.
func (c Config) withDefaults() Config {
	if c.AckTolerance == 0 {
		c.AckTolerance = defaultAckTolerance
	}
	c.AckTolerance = max(c.AckTolerance, 0)
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.HoleTimeout, defaultHoleTimeout},
		{&c.RetransmitTimeout, defaultRetransmitTimeout},
		{&c.EmbryonicTimeout, defaultEmbryonicTimeout},
		{&c.IdleTimeout, defaultIdleTimeout},
		{&c.Linger, defaultLinger},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	if c.CopyWindow == 0 {
		c.CopyWindow = defaultCopyWindow
	}
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.MaxHoleBytes, defaultMaxHoleBytes},
		{&c.MaxQueuedTotal, defaultMaxQueuedTotal},
		{&c.MaxConnections, defaultMaxConnections},
		{&c.History, defaultHistory},
	} {
		if *d.field <= 0 {
			*d.field = d.value
		}
	}
	c.History = min(c.History, maxHistory)
	return c
}
