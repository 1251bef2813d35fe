package ledger

import (
	"fmt"
	"strings"

	"capstan/interceptor/internal/engine"
	"capstan/interceptor/internal/figures"
	"capstan/pkg/defrag"
	"capstan/pkg/packet"
	"capstan/pkg/reassembly"
	capstanv1 "capstan/proto/capstan/v1"
)

// Entry is one line of an account.
type Entry struct {
	Key   string // stable, such as frames.arrived
	Text  string // for people
	Value uint64
	Unit  string // frames, bytes, connections, …
	Level int    // 0, or how deep it is below those before, of which it is a part

	quiet bool // tells nothing when it is 0
}

// keyOutages is of the entry that the list of outages belongs to.
const keyOutages = "outages"

// Entries returns all lines, those of zeros too, in their order.
func (l *Ledger) Entries() []Entry { return l.entries() }

type entries []Entry

func (l *Ledger) entries() entries {
	var e entries
	if l.Live {
		e.capture(l)
	}
	e.frames(&l.Engine)
	e.streams(&l.Engine)
	e.exchanges(&l.Engine)
	return e
}

// line adds a line. The unit of most is the first word of their key.
func (e *entries) line(key string, level int, n uint64, format string, args ...any) {
	unit, _, _ := strings.Cut(key, ".")
	*e = append(*e, Entry{Key: key, Text: fmt.Sprintf(format, args...), Value: n, Unit: unit, Level: level})
}

// some is line for a count that tells nothing when it is 0.
func (e *entries) some(key string, level int, n uint64, format string, args ...any) {
	e.line(key, level, n, format, args...)
	(*e)[len(*e)-1].quiet = true
}

// words makes words of the name of a counter.
func words(name fmt.Stringer) string { return strings.ReplaceAll(name.String(), "-", " ") }

func (e *entries) capture(l *Ledger) {
	s := &l.Source
	e.some("frames.other_connections", 0, s.ServerOtherFlows, "frames left out by the server: of connections that are not captured, since one in so many is")
	e.line("frames.captured", 0, s.ServerReceived, "frames captured by the server, as of its last report")
	e.line("frames.lost_in_ring", 1, s.ServerDropped, "lost in its ring")
	e.some("frames.lost_by_interface", 1, s.ServerInterfaceDropped, "lost by the interface before")
	e.line("frames.sent", 1, s.ServerSent, "sent by it")
	e.line("frames.arrived", 0, s.Frames, "frames arrived (%s)", figures.Size(s.Bytes))
	e.some("frames.missing", 1, s.Missing, "missing in the server's numbering")
	e.some("daemons.refused", 0, s.Refused, "daemons in active mode refused: from elsewhere, or without a word")
	e.some(keyOutages, 0, s.OutageCount, "outages, %v without capture", s.OutageTime.Round(1e6))
}

func (e *entries) frames(s *engine.Snapshot) {
	e.line("frames.decoded", 0, s.Frames, "frames decoded (%s)", figures.Size(s.Bytes))
	e.line("frames.tcp", 1, s.Outcomes[packet.OutcomeTCP], "TCP")
	for o, n := range s.Outcomes {
		if o := packet.Outcome(o); o != packet.OutcomeTCP {
			e.some("frames."+o.String(), 1, n, "%s", words(o))
		}
	}
	for reason, n := range s.Defrag.Dropped {
		r := defrag.DropReason(reason)
		e.some("fragments.dropped."+r.String(), 2, n, "fragments dropped: %s", words(r))
	}
	e.some("fragments.waiting", 2, uint64(s.Defrag.Waiting), "fragments waiting for others")
	e.some("packets.put_together", 2, s.Defrag.Datagrams, "packets put together from fragments, %s of them TCP", figures.Count(s.Datagrams[packet.OutcomeTCP]))
	e.some("frames.tunnelled", 1, s.Decode.Tunnelled, "TCP inside of tunnels (also counted above)")
	e.some("frames.checksum_bad", 1, s.Decode.Checksums[packet.ChecksumBad], "with a bad checksum (also counted above)")
	e.some("frames.checksum_partial", 1, s.Decode.Checksums[packet.ChecksumPartial], "with a checksum left to the card (also counted above)")
	e.some("frames.cut_by_snap_length", 1, s.Truncated, "cut by the snap length (also counted above)")
}

func (e *entries) streams(s *engine.Snapshot) {
	r := &s.Reassembly
	e.line("bytes.payload", 0, r.PayloadBytes, "bytes of TCP payload")
	e.line("bytes.in_order", 1, r.DeliveredBytes, "in order")
	e.some("bytes.repeated", 1, r.DuplicateBytes, "repeated by the sender")
	e.some("bytes.captured_again", 1, r.CopyBytes, "captured again at another interface, in %s packets", figures.Count(r.Copies))
	for reason, n := range r.DroppedBytes {
		d := reassembly.DropReason(reason)
		e.some("bytes.dropped."+d.String(), 1, n, "dropped: %s", words(d))
	}
	e.some("bytes.waiting", 1, uint64(r.QueuedBytes), "waiting for bytes before them")
	e.line("bytes.never_captured", 0, r.GapBytes, "bytes never captured, in %s gaps", figures.Count(r.Gaps))
	e.some("segments.conflicting", 0, r.Conflicts, "segments that differ from what was there before")
	e.some("segments.urgent", 0, r.UrgentSegments, "segments with urgent data")
	e.some("holes.shed", 0, r.Shed, "holes given up early, since too much waited behind them")
	e.line("connections.opened", 0, r.Opened, "connections")
	for p, c := range s.Protocols {
		p := engine.Protocol(p)
		e.some("connections."+p.String(), 1, c.Connections, "%s (%s)", p.Describe(), figures.Size(c.Bytes))
	}
	e.some("connections.evicted", 1, r.Closed[reassembly.CloseEvicted], "ended since there was no room for more, %s of them for lack of memory", figures.Count(r.ShedConnections))
	e.some("tuples.shed", 0, r.ShedTuples, "tuples of ended connections forgotten for lack of memory")
	e.some("segments.forgotten", 0, r.ShedHistory, "segments that copies and repetitions are told by, forgotten for lack of memory")
	e.messages(s)
}

// messages tells what the bytes of the protocols were.
func (e *entries) messages(s *engine.Snapshot) {
	h := &s.HTTP1
	e.some("bytes.http1_headers", 0, h.HeadBytes, "bytes of HTTP/1 header sections")
	e.some("bytes.http1_bodies", 0, h.BodyBytes, "bytes of HTTP/1 bodies")
	e.some("bytes.http1_framing", 0, h.FramingBytes, "bytes of HTTP/1 framing")
	e.some("bytes.http1_tunnelled", 0, h.TunnelledBytes, "bytes of tunnels through HTTP/1")
	e.some("bytes.http1_skipped", 0, h.SkippedBytes, "bytes passed over in looking for HTTP/1, which lost its place %s times", figures.Count(h.Resyncs))
	e.some("responses.doubtful", 0, h.Doubtful, "responses of HTTP/1 that no request could be told for")
	e.some("directions.http1_given_up", 0, h.GivenUp, "directions given up as not HTTP/1")
	e.some("sections.http1_cut", 0, h.HeadCuts, "header sections of HTTP/1 cut by a limit")
	e.some("requests.http1_shed", 0, h.ShedRequests, "requests of HTTP/1 told early: too many waited for responses")
	g := &s.HTTP2
	e.some("bytes.http2_headers", 0, g.HeaderBytes, "bytes of HTTP/2 header blocks")
	e.some("bytes.http2_bodies", 0, g.DataBytes, "bytes of HTTP/2 bodies")
	e.some("bytes.http2_framing", 0, g.FramingBytes, "bytes of HTTP/2 framing")
	e.some("bytes.http2_skipped", 0, g.SkippedBytes, "bytes passed over in looking for HTTP/2, which lost its place %s times", figures.Count(g.Resyncs))
	e.some("directions.http2_given_up", 0, g.GivenUp, "directions given up as not HTTP/2")
	e.some("segments.http2_search_cut", 0, g.SearchCuts, "segments in which HTTP/2 was not looked for up to the end: too much looks like it")
	e.some("blocks.http2_doubtful", 0, g.LostBlocks+g.BrokenBlocks+g.HeaderCuts, "header blocks of HTTP/2 with bytes lost, broken or cut by a limit")
}

func (e *entries) exchanges(s *engine.Snapshot) {
	x := &s.Exchange
	e.some("records.connections", 0, x.Connections, "records of connections that carry none")
	e.line("exchanges.told", 0, x.Total()-x.Connections, "exchanges")
	e.line("exchanges.complete", 1, x.Complete, "complete")
	e.some("exchanges.incomplete", 1, x.Incomplete, "incomplete")
	e.some("exchanges.no_request", 1, x.NoRequest, "without request")
	e.some("exchanges.no_response", 1, x.NoResponse, "without response")
	e.some("exchanges.grpc", 1, s.HTTP2.GRPC, "calls of gRPC over HTTP/2 (also counted above)")
	e.some("bodies.over_limit", 0, x.Decoded[capstanv1.Decoding_DECODING_LIMIT], "bodies that decode to more than the limit")
	e.some("bodies.invalid", 0, x.Decoded[capstanv1.Decoding_DECODING_INVALID], "bodies that are not coded as they say")
	e.some("fields.unknown", 0, s.HTTP2.UnknownFields, "header fields of HTTP/2 that can't be known; infer_grpc_fields tells more of gRPC's")
	e.some("requests.doubtful", 0, s.HTTP2.Doubtful, "requests of HTTP/2 not told: frames were found by guess, and nothing confirmed them")
	e.some("streams.shed", 0, s.HTTP2.ShedStreams, "streams of HTTP/2 told early: too many were open")
}
