package http1

import (
	"slices"
	"strings"

	"capstan/interceptor/internal/exchange"
	"capstan/interceptor/internal/l7/grpc"
	capstanv1 "capstan/proto/capstan/v1"
)

// roundTrip is a request, a response, or both, on the way to a record. It is
// one allocation with everything of fixed size that a record needs.
type roundTrip struct {
	trip
	reqRoom, respRoom fieldRoom // memory of the fields of both header sections
}

// trip is what is another one in each round trip.
type trip struct {
	rec     capstanv1.Exchange
	req     capstanv1.HttpRequest
	reqBody capstanv1.Body

	// lent: its answer has become that of another.
	lent bool

	// The request, if rec.Request is set.
	method    methodKind
	asksClose bool  // nothing follows this request
	upgrades  bool  // it asks for another protocol
	reqDone   bool  // it ended, whole or not
	reqWhole  bool  // it ended where it says
	alone     bool  // no response will be paired with it
	continued bool  // the response before the final one is missing: 100 (Continue)
	floats    bool  // it is a response that waits for its request
	unproven  bool  // paired on a connection joined midstream whose client was not seen to wait
	behind    bool  // what was sent before it had no response when it was sent
	start     int64 // stream offset of its first byte
	end       int64 // and behind its last, once it is done
	acked     int64 // response bytes the client had received when it sent it, -1 unknown
	latest    int64 // the same for its last byte, once it is done
	before    int64 // acked of the request before it, -1 unknown
	epoch     int32 // of the client's half: changes when that loses its place
	first     bool  // it is what the client sent first, as far as is known
	follows   bool  // no request can have been missed between it and the one before
	waiting   bool  // it is pending
	cost      int   // what it adds to pairing.cost

	passed *exchange.Screen // by all its header fields; nil: not looked at
	call   *grpc.Call       // the request's half of a call of gRPC-Web, nil if it is none
	answer *answer          // its response; own, or one that had waited for it
	own    answer

	flaws exchange.Flaws
}

// Estimates of what a request keeps in memory.
const (
	roundTripCost = 1 << 10 // the round trip itself
	fieldCost     = 128     // a header field besides its text
)

// expects reports whether the client waits for 100 (Continue) before it sends the body.
func (x *roundTrip) expects() bool { return x.says("Expect", "100-continue") }

// asksForWebSocket reports whether that is the protocol asked for.
func (x *roundTrip) asksForWebSocket() bool { return x.upgrades && x.says("Upgrade", "websocket") }

// says reports whether the request has a field of that name with just that value, in any
// case.
func (x *roundTrip) says(name, value string) bool {
	return slices.ContainsFunc(x.req.Headers, func(f *capstanv1.Header) bool {
		return strings.EqualFold(f.Name, name) && strings.EqualFold(f.Value, value)
	})
}

// unasked reports whether the response is a switch of protocols that the request, which was
// seen whole, does not ask for: no server may send one (RFC 9110 §7.8).
func (x *roundTrip) unasked() bool {
	return x.answer.msg.Status == 101 && x.rec.Request != nil && x.reqWhole && !x.upgrades && !x.flaws.Has(capstanv1.Flaw_FLAW_HEADERS_CUT)
}

// switches reports whether x, which nothing that was seen follows, is what 101 answers whose
// sender had received acked bytes of the client: not a lost request behind it.
func (x *roundTrip) switches(acked int64) bool {
	return x.upgrades && acked > x.start && (!x.reqDone || acked <= x.end+lineEndsLen)
}

// size estimates the memory that x keeps.
func (x *roundTrip) size() int {
	n := roundTripCost + len(x.req.Target) + len(x.reqBody.Content) + sizeOf(x.req.Headers) + sizeOf(x.req.Trailers)
	if a := x.answer; a != nil {
		n += len(a.body.Content) + sizeOf(a.msg.Headers) + sizeOf(a.msg.Trailers)
	}
	return n
}

func sizeOf(fields []*capstanv1.Header) (n int) {
	for _, f := range fields {
		n += fieldCost + len(f.Name) + len(f.Value)
	}
	return n
}

// answer is a response with the interim ones before it.
type answer struct {
	msg  capstanv1.HttpResponse
	body capstanv1.Body

	final  bool // the status line of the final response was seen
	done   bool
	whole  bool
	goesOn bool  // it does not end where it was given up
	closes bool  // the server closes after it
	start  int64 // stream offset of its first byte, interim responses included
	end    int64
	acked  int64            // request bytes the server had received when it sent the first byte, -1 unknown
	prior  int64            // the same for the byte before, -1 unknown
	latest int64            // and for its last byte
	passed *exchange.Screen // as in roundTrip
	call   *grpc.Call       // the response's half of a call of gRPC-Web
	epoch  int32            // of the server's half

	flaws exchange.Flaws
}

// methodKind tells the methods that change how the response is framed.
type methodKind uint8

const (
	methodOther methodKind = iota
	methodHead
	methodConnect
)

// emit turns x into a record. Nothing refers to x afterwards, which is used again.
func (c *Conn) emit(x *roundTrip) {
	x.rec.Protocol = capstanv1.Protocol_PROTOCOL_HTTP1
	all, passed := x.flaws, exchange.Screened{Request: x.passed}
	x.rec.Complete = x.reqWhole
	c.shared.Stats.HeldContent -= len(x.reqBody.Content)
	if a := x.answer; a != nil {
		c.shared.Stats.HeldContent -= len(a.body.Content)
		if a.final {
			x.rec.Response = &a.msg
			a.msg.Body = &a.body
			a.body.Truncated = uint64(len(a.body.Content)) < a.body.Size
		}
		all |= a.flaws
		passed.Response = a.passed
		x.rec.Complete = x.rec.Complete && a.whole
	}
	if x.rec.Request != nil {
		x.req.Body = &x.reqBody
		x.reqBody.Truncated = uint64(len(x.reqBody.Content)) < x.reqBody.Size
	}
	if x.rec.Request == nil && x.rec.Response == nil {
		c.shared.recycle(x)
		return // only an interim response of no known request
	}
	x.emitCall(c.shared.rec)
	if all != 0 {
		x.rec.Flaws = all.Append(x.rec.Flaws[:0])
	}
	c.shared.rec.Emit(c.identity(), &x.rec, passed)
	c.shared.recycle(x)
}
