package source

import (
	"sync"
	"time"

	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

// CounterSnapshot tells what a server said it captured and what arrived here,
// over all sessions with it.
type CounterSnapshot struct {
	// Told by the server's STATS, widened to 64 bits.
	ServerReceived         uint64 // passed the filter, dropped ones included
	ServerDropped          uint64 // lost in the server's ring
	ServerInterfaceDropped uint64
	ServerSent             uint64
	ServerOtherFlows       uint64 // of connections that one in so many leaves out

	// Counted here.
	Frames  uint64 // arrived
	Bytes   uint64 // of the data channel
	Missing uint64 // holes in the numbers of arriving packets

	Refused  uint64   // daemons in active mode that are not the server, or didn't authenticate
	Sessions uint64   // captures started
	Outages  []Outage // intervals without capture, the oldest left out beyond maxOutages
	// OutageCount and OutageTime count those left out too; OutageTime grows
	// during an outage.
	OutageCount uint64
	OutageTime  time.Duration
	Connected   bool
	Since       time.Time // when the running capture started; zero without one
	Problem     string    // why there is none; empty before the first
	Silent      bool      // connected, but the server's last answer is overdue
}

// Outage is an interval in which frames passed unseen.
type Outage struct {
	From, To time.Time // To is zero while it lasts
	Reason   string
}

// maxOutages bounds the list in a snapshot.
const maxOutages = 100

// Counters collects a source's counters from its goroutines.
type Counters struct {
	mu      sync.Mutex // guards everything below
	total   CounterSnapshot
	server  rpcap.StatsReply        // the running session's latest, to widen differences
	stream  rpcapclient.StreamStats // the running session's latest
	started bool
}

// setServer takes the counters of a STATS reply. They wrap at 32 bits and, at
// the reference, go back to zero when the capture ends: such a reply is ignored.
func (c *Counters) setServer(r rpcap.StatsReply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r == (rpcap.StatsReply{}) {
		return
	}
	c.total.ServerReceived += uint64(r.Received - c.server.Received)
	c.total.ServerDropped += uint64(r.KernelDropped - c.server.KernelDropped)
	c.total.ServerInterfaceDropped += uint64(r.InterfaceDropped - c.server.InterfaceDropped)
	c.total.ServerSent += uint64(r.Sent - c.server.Sent)
	c.total.ServerOtherFlows += uint64(r.OtherFlows - c.server.OtherFlows)
	c.server = r
}

// setSilent notes whether the server's answer is overdue, and tells whether that
// is news.
func (c *Counters) setSilent(silent bool) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed = c.total.Silent != silent
	c.total.Silent = silent
	return changed
}

func (c *Counters) setStream(s rpcapclient.StreamStats) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.started {
		c.started = true
		c.total.Sessions++
		c.total.Connected = true
		c.total.Since, c.total.Problem = time.Now(), ""
	}
	c.total.Frames += s.Frames - c.stream.Frames
	c.total.Bytes += s.Bytes - c.stream.Bytes
	c.total.Missing += s.Missing - c.stream.Missing
	c.stream = s
}

// endSession closes the account of a session; the next one counts from 0.
func (c *Counters) endSession(s rpcapclient.StreamStats) {
	c.setStream(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server, c.stream = rpcap.StatsReply{}, rpcapclient.StreamStats{}
	c.started, c.total.Connected, c.total.Silent = false, false, false
	c.total.Since = time.Time{}
}

// refused counts a daemon in active mode.
func (c *Counters) refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Refused++
}

// lost opens an outage. During one it only tells the latest reason.
func (c *Counters) lost(at time.Time, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total.Problem = reason
	if n := len(c.total.Outages); n > 0 && c.total.Outages[n-1].To.IsZero() {
		return
	}
	c.total.OutageCount++
	if len(c.total.Outages) == maxOutages {
		c.total.Outages = append(c.total.Outages[:0], c.total.Outages[1:]...)
	}
	c.total.Outages = append(c.total.Outages, Outage{From: at, Reason: reason})
}

func (c *Counters) regained(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.total.Outages); n > 0 && c.total.Outages[n-1].To.IsZero() {
		o := &c.total.Outages[n-1]
		o.To = at
		c.total.OutageTime += o.To.Sub(o.From)
	}
}

func (c *Counters) snapshot() CounterSnapshot {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.total
	s.Outages = append([]Outage(nil), c.total.Outages...)
	if n := len(s.Outages); n > 0 && s.Outages[n-1].To.IsZero() {
		s.OutageTime += time.Since(s.Outages[n-1].From)
	}
	return s
}
