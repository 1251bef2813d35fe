package sockfilter

import "time"

// Bounds of how fast this process loads programs. A program that is freed is
// work that the kernel defers, with a lock that loading the next one takes too
// (bpf_prog_pack_alloc in kernel/bpf/core.c). More than about a thousand frees
// outstanding, which a loop of loads reaches, can lock up every user of BPF on
// the host (seen on Linux 6.18), and clients choose how often we load.
const (
	paceBurst    = 64
	paceInterval = 5 * time.Millisecond // one more load each
)

// pace is a token bucket. The zero value is full.
type pace struct {
	used int       // tokens taken and not yet regained at since
	at   time.Time // up to which regaining has been accounted for
}

// take takes a token and returns how long to wait before using it.
func (p *pace) take(now time.Time) time.Duration {
	if regained := int(now.Sub(p.at) / paceInterval); regained >= p.used {
		p.used, p.at = 0, now
	} else if regained > 0 {
		p.used -= regained
		p.at = p.at.Add(time.Duration(regained) * paceInterval)
	}
	p.used++
	if p.used <= paceBurst {
		return 0
	}
	return p.at.Add(time.Duration(p.used-paceBurst) * paceInterval).Sub(now)
}
