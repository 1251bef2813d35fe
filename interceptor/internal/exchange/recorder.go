package exchange

import (
	"slices"
	"strings"

	"capstan/interceptor/internal/arena"
	"capstan/interceptor/internal/content"
	"capstan/pkg/flow"
	capstanv1 "capstan/proto/capstan/v1"
)

// Recorder finishes records. It belongs to one goroutine, the engine's that
// owns the connections.
type Recorder struct {
	cfg   Config
	stats Stats
	text  arena.Text // ids

	addresses      addresses
	client, server capstanv1.Endpoint // of the record in hand

	content content.Decoder
	decoded [2][]byte // of the request and the response of the record in hand
}

// Stats counts records. Each is in exactly one of the first five.
type Stats struct {
	Complete   uint64 // both halves seen whole
	Incomplete uint64 // both halves seen, not whole
	NoRequest  uint64 // only a response
	NoResponse uint64 // only a request

	Connections uint64 // of a connection rather than an exchange

	MaskedHeaders uint64 // header and trailer values masked
	MaskedQueries uint64 // URLs of which values were masked
	// Decoded are the bodies with content codings, by how far these were undone.
	Decoded [NumDecodings]uint64
	// CutBodies are those of which no more is kept than a Keep allows.
	CutBodies uint64

	HeldDecoders int // bytes of memory, about, that is kept to undo codings, now
}

// NumDecodings is the number of values of [capstanv1.Decoding].
const NumDecodings = int(capstanv1.Decoding_DECODING_LIMIT) + 1

// Total returns the number of records made.
func (s *Stats) Total() uint64 {
	return s.Complete + s.Incomplete + s.NoRequest + s.NoResponse + s.Connections
}

// NewRecorder returns a recorder for cfg.
func NewRecorder(cfg Config) *Recorder {
	if cfg.Keep == nil {
		cfg.Keep = NewKeep(0, nil, nil)
	}
	// No reader of protobuf takes other text, and nobody who encodes looks.
	cfg.Source = strings.ToValidUTF8(cfg.Source, "\uFFFD")
	return &Recorder{cfg: cfg, content: content.Decoder{Config: cfg.Content}}
}

// BodyLimit returns how many bytes of a body to keep.
func (r *Recorder) BodyLimit() int { return r.Screen().bodyLimit }

// Stats returns the counts so far.
func (r *Recorder) Stats() Stats {
	s := r.stats
	s.HeldDecoders = r.content.Len() + cap(r.decoded[0]) + cap(r.decoded[1])
	return s
}

// Release lets go of memory that is only kept for reuse.
func (r *Recorder) Release() {
	r.content.Release()
	r.decoded = [2][]byte{}
}

// Emit finishes x, a record of connection c, and hands it to Config.Emit, which
// keeps nothing of it: x is the caller's again afterwards.
//
// The caller has set protocol, halves (nil: not seen) with their times, flaws
// in any order, and complete if every half it set was seen to the end. Emit
// adds NO_REQUEST, NO_RESPONSE and CONFLICT, takes complete back where a half is
// missing or a flaw says that something is, and undoes the codings of bodies. A
// record with Connection set has no halves; its times are the caller's to set.
// passed spares Emit a look at the fields of those halves.
// Next: Config.Emit; in the interceptor, command's output.Emit.
func (r *Recorder) Emit(c *Connection, x *capstanv1.Exchange, passed Screened) {
	x.Id = c.nextID(&r.text)
	client, server := &c.conn.Key.A, &c.conn.Key.B
	if c.client == flow.BToA {
		client, server = server, client
	}
	r.addresses.set(&r.client, client)
	r.addresses.set(&r.server, server)
	x.Client, x.Server = &r.client, &r.server
	x.Source, x.Proxied, x.ProxiedFurther, x.Socks = r.cfg.Source, nil, nil, nil
	if p := c.proxies; p != nil {
		x.Proxied, x.ProxiedFurther, x.Socks = p.first, p.further, p.socks
	}
	if x.Connection == nil {
		setTimes(x)
		addMissing(x)
	}
	if c.inConflict() {
		x.Flaws = append(x.Flaws, capstanv1.Flaw_FLAW_CONFLICT)
	}
	if len(x.Flaws) > 1 {
		slices.Sort(x.Flaws)
		x.Flaws = slices.Compact(x.Flaws)
	}
	for _, f := range x.Flaws {
		// What is malformed, or in conflict, may still have been seen whole.
		if f != capstanv1.Flaw_FLAW_MALFORMED && f != capstanv1.Flaw_FLAW_CONFLICT {
			x.Complete = false
		}
	}
	now := r.Screen()
	r.maskAll(x, now, passed)
	r.decodeAll(x, now, passed)
	r.count(x)
	r.countCut(x.Request.GetBody(), now)
	r.countCut(x.Response.GetBody(), now)
	r.cfg.Emit(x)
}

// addMissing tells which half was not seen.
func addMissing(x *capstanv1.Exchange) {
	if x.Request == nil {
		x.Flaws = append(x.Flaws, capstanv1.Flaw_FLAW_NO_REQUEST)
	}
	if x.Response == nil {
		x.Flaws = append(x.Flaws, capstanv1.Flaw_FLAW_NO_RESPONSE)
	}
}

// maskAll masks what is in x. Of a malformed message more than that is looked at: others
// may read other fields in it.
func (r *Recorder) maskAll(x *capstanv1.Exchange, now *Screen, passed Screened) {
	broken := slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_MALFORMED)
	if q := x.Request; q != nil {
		if passed.Request != now {
			now.maskFields(q.Headers, &r.stats)
		}
		now.maskFields(q.Trailers, &r.stats)
		if broken {
			now.maskBroken(q.Headers, &r.stats)
			now.maskBroken(q.Trailers, &r.stats)
			q.Authority, _ = now.maskInside(q.Authority)
		}
		r.maskTarget(x, now)
	}
	if s := x.Response; s != nil {
		if passed.Response != now {
			now.maskFields(s.Headers, &r.stats)
		}
		now.maskFields(s.Trailers, &r.stats)
		if broken {
			now.maskBroken(s.Headers, &r.stats)
			now.maskBroken(s.Trailers, &r.stats)
			s.Reason, _ = now.maskInside(s.Reason)
		}
	}
	if w := x.Websocket; w != nil {
		var what found
		w.Subprotocol, what = now.maskProtocols(w.Subprotocol)
		r.stats.count(what)
	}
}

// maskTarget masks the target of x, and what gRPC takes of it.
func (r *Recorder) maskTarget(x *capstanv1.Exchange, now *Screen) {
	q, what := x.Request, found(0)
	if q.Version == "" && slices.Contains(x.Flaws, capstanv1.Flaw_FLAW_HEADERS_CUT) {
		if q.Target, what = now.maskCutURL(q.Target, bareAuthority); what&foundCredential != 0 && q.Target[0] != '/' {
			q.Authority = "" // nobody knows where it begins
		}
	} else {
		q.Target, what = now.maskURL(q.Target, bareAuthority)
	}
	if what == 0 {
		return
	}
	r.stats.MaskedQueries++
	if g := x.Grpc; g != nil {
		path, _ := now.maskURL("/"+g.Service+"/"+g.Method, noAuthority)
		last := strings.LastIndexByte(path, '/')
		g.Service, g.Method = path[min(1, last):last], path[last+1:]
	}
}

func (r *Recorder) count(x *capstanv1.Exchange) {
	switch {
	case x.Connection != nil:
		r.stats.Connections++
	case x.Request == nil:
		r.stats.NoRequest++
	case x.Response == nil:
		r.stats.NoResponse++
	case x.Complete:
		r.stats.Complete++
	default:
		r.stats.Incomplete++
	}
}

// countCut counts a body of which no more is kept than is allowed.
func (r *Recorder) countCut(b *capstanv1.Body, now *Screen) {
	if b.GetTruncated() && len(b.Content) >= now.bodyLimit {
		r.stats.CutBodies++
	}
}

// setTimes derives start and duration from the halves. A clock that stepped
// back makes no negative duration.
func setTimes(x *capstanv1.Exchange) {
	var first, last uint64
	if q := x.Request; q != nil {
		first, last = q.FirstByteUnixNs, q.LastByteUnixNs
	}
	if s := x.Response; s != nil {
		if x.Request == nil || s.FirstByteUnixNs < first {
			first = s.FirstByteUnixNs
		}
		last = max(last, s.LastByteUnixNs)
	}
	x.StartTimeUnixNs = first
	x.DurationNs = int64(max(last, first) - first)
}
