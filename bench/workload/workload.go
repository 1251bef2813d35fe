// Package workload makes captures in memory that pipelines are compared on: the
// same frames for each, from the generator that "bench generate" has.
package workload

import (
	"fmt"
	"time"

	"capstan/bench/internal/traffic"
	"capstan/pkg/capture"
)

// Workload is a capture in memory, of whole connections without loss.
type Workload struct {
	Name        string
	Frames      []capture.Frame // of an Ethernet, in the order of their times
	Bytes       int             // of all frames
	Connections uint64
	Exchanges   uint64
}

// fullFrame is the length of a full frame with 1,448 bytes of payload, what
// Ethernet's usual MTU leaves where TCP has timestamps.
const fullFrame = 14 + 20 + 20 + 1448

// interval is the time between two frames.
const interval = 10 * time.Microsecond

// plans are the workloads: 50 connections are open at a time, and in each
// frame one of them, drawn by lot, has its turn.
var plans = []struct {
	name string
	plan traffic.Plan
}{
	{"api-2k", traffic.Plan{Kind: traffic.HTTP1, Connections: 50, Exchanges: 100, ResponseLen: 1800}},
	{"api-8k", traffic.Plan{Kind: traffic.HTTP1, Connections: 50, Exchanges: 50, ResponseLen: 8 << 10}},
	{"short", traffic.Plan{Kind: traffic.HTTP1, Connections: 3000, Exchanges: 1, ResponseLen: 1800}},
	{"http2", traffic.Plan{Kind: traffic.HTTP2, Connections: 50, Exchanges: 100, ResponseLen: 1800, Streams: 4}},
	{"grpc", traffic.Plan{Kind: traffic.GRPC, Connections: 50, Exchanges: 100, RequestLen: 200, ResponseLen: 1800, Streams: 4}},
}

// Names returns the names of the workloads: api-2k and api-8k, a JSON API over
// kept connections with responses of 1,800 and of 8,192 bytes; short, the first
// with a connection for each exchange; http2, the first over HTTP/2 with 4
// streams at once; grpc, the same with unary calls, whose requests have 200 bytes.
func Names() (names []string) {
	for _, p := range plans {
		names = append(names, p.name)
	}
	return names
}

// New makes the workload of that name.
func New(name string) (*Workload, error) {
	for _, p := range plans {
		if p.name == name {
			return generate(name, p.plan)
		}
	}
	return nil, fmt.Errorf("workload %q is none of %v", name, Names())
}

func generate(name string, p traffic.Plan) (*Workload, error) {
	p.Flows, p.Size = 50, traffic.Fixed(fullFrame)
	g, err := traffic.New(p)
	if err != nil {
		return nil, err
	}
	w := &Workload{Name: name}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	var data []byte // one frame behind the other, as a capture has them
	for f := new(traffic.Frame); g.Next(f); {
		data = append(data, f.Data...)
		w.Frames = append(w.Frames, capture.Frame{Timestamp: at, Len: len(f.Data), LinkType: capture.LinkTypeEthernet})
		at += int64(interval)
	}
	w.Bytes = len(data)
	for i := range w.Frames {
		f := &w.Frames[i]
		f.Data, data = data[:f.Len:f.Len], data[f.Len:]
	}
	c := g.Counts()
	w.Connections, w.Exchanges = c.Connections, c.Exchanges
	return w, nil
}
