//go:build linux

// Package limit does the two halves of a capture server's work alone, as cheaply
// as this project knows: draining a ring without sending anything, and sending
// the same bytes without capturing. The sum of what they cost is what a server
// is measured against.
package limit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"capstan/pkg/afpacket"
	"capstan/pkg/sockfilter"
)

// DrainConfig says what to drain.
type DrainConfig struct {
	Interface    string
	RingLen      int // bytes
	BlockTimeout time.Duration
}

// DrainResult counts what was drained.
type DrainResult struct {
	Frames, Bytes uint64 // taken from the ring
	Drops         uint64 // lost since the ring was full
}

// Drain takes frames from a ring like rpcapd's, with a filter that passes
// everything, looks at each frame's header and gives the blocks back, until ctx
// ends. It calls ready when the capture runs.
func Drain(ctx context.Context, c DrainConfig, ready func()) (DrainResult, error) {
	link, err := net.InterfaceByName(c.Interface)
	if err != nil {
		return DrainResult{}, err
	}
	filter, err := sockfilter.NewFilter(sockfilter.Config{})
	if err != nil {
		return DrainResult{}, err
	}
	defer filter.Close()
	ring, err := afpacket.Open(afpacket.Config{
		Interface: link.Index, BlockTimeout: c.BlockTimeout, Promiscuous: true,
		BlockCount: c.RingLen / afpacket.DefaultBlockLen,
	}, filter.Attach)
	if err != nil {
		return DrainResult{}, err
	}
	defer ring.Close()
	if _, err := filter.Set(nil); err != nil {
		return DrainResult{}, err
	}
	stop := context.AfterFunc(ctx, func() { ring.Close() }) // wakes Next
	defer stop()
	ready()
	var r DrainResult
	var b afpacket.Block
	var f afpacket.Frame
	for {
		if err := ring.Next(&b, -1); errors.Is(err, os.ErrClosed) {
			break
		} else if err != nil {
			return r, err
		}
		for b.Next(&f) {
			r.Frames++
			r.Bytes += uint64(len(f.Data))
		}
		b.Release()
	}
	stats, err := ring.Stats()
	r.Drops = stats.Drops
	return r, err
}

// Text says the result as tcpdump does, so that it is read as tcpdump is.
func (r DrainResult) Text() string {
	return fmt.Sprintf("%d packets captured\n%d packets received by filter\n%d packets dropped by kernel\n", r.Frames, r.Frames+r.Drops, r.Drops)
}
