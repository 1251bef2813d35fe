package terminal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"capstan/interceptor/internal/figures"
	"capstan/interceptor/internal/sink/text"
	capstanv1 "capstan/proto/capstan/v1"
)

// line is a line of a record in full; its text is safe to show.
type line struct {
	style string // an SGR sequence, or none
	text  string
}

// detail returns one record in full.
func detail(x *capstanv1.Exchange) []line {
	d := &details{}
	d.add(bold, strings.TrimSpace(string(text.Encoder{}.Append(nil, x))))
	d.field("id", x.GetId())
	d.field("source", x.GetSource())
	d.field("protocol", strings.TrimPrefix(x.GetProtocol().String(), "PROTOCOL_"))
	d.field("began", instant(x.GetStartTimeUnixNs()))
	if !x.GetComplete() {
		d.add(yellow, "not complete: what is missing stands behind the first line")
	}
	d.request(x.GetRequest())
	d.response(x.GetResponse())
	d.grpc(x.GetGrpc())
	if p := x.GetProxied(); p != nil {
		d.title("PROXY protocol")
		d.message(p)
	}
	for _, p := range x.GetProxiedFurther() {
		d.title("PROXY protocol, further")
		d.message(p)
	}
	for _, part := range []struct {
		name string
		m    proto.Message
		is   bool
	}{
		{"SOCKS", x.GetSocks(), x.GetSocks() != nil}, {"Connection", x.GetConnection(), x.GetConnection() != nil},
		{"WebSocket", x.GetWebsocket(), x.GetWebsocket() != nil}, {"TLS", x.GetTls(), x.GetTls() != nil},
	} {
		if part.is {
			d.title(part.name)
			d.message(part.m)
		}
	}
	return d.lines
}

// wrap breaks lines that are longer than width.
func wrap(lines []line, width int) []line {
	var wrapped []line
	for _, l := range lines {
		for part := range strings.SplitSeq(ansi.Hardwrap(l.text, width, true), "\n") {
			wrapped = append(wrapped, line{l.style, part})
		}
	}
	return wrapped
}

type details struct{ lines []line }

func (d *details) add(style, s string) { d.lines = append(d.lines, line{style, s}) }

func (d *details) title(s string) {
	d.add("", "")
	d.add(cyan, "── "+s+" ──")
}

func (d *details) field(name, value string) {
	if value != "" {
		d.add("", fmt.Sprintf("%-10s %s", name, text.Safe(value)))
	}
}

func instant(ns uint64) string {
	if ns == 0 {
		return ""
	}
	return time.Unix(0, int64(ns)).Format("2006-01-02 15:04:05.000000 MST")
}

func (d *details) request(q *capstanv1.HttpRequest) {
	d.title("Request")
	if q == nil {
		d.add(dim, "not seen")
		return
	}
	d.add(bold, text.Safe(strings.TrimSpace(q.GetMethod()+" "+text.URL(q)+" "+q.GetVersion())))
	d.headers(q.GetHeaders())
	d.body(q.GetBody())
	d.trailers(q.GetTrailers())
}

func (d *details) response(p *capstanv1.HttpResponse) {
	d.title("Response")
	if p == nil {
		d.add(dim, "not seen")
		return
	}
	d.add(bold, text.Safe(strings.TrimSpace(fmt.Sprintf("%s %d %s", p.GetVersion(), p.GetStatus(), p.GetReason()))))
	d.headers(p.GetHeaders())
	d.body(p.GetBody())
	d.trailers(p.GetTrailers())
}

func (d *details) headers(headers []*capstanv1.Header) {
	for _, h := range headers {
		name, value := text.Safe(h.GetName()), text.Safe(h.GetValue())
		if h.GetNameUnknown() {
			name = "(unknown)"
		}
		if h.GetValueUnknown() {
			value = "(unknown)"
		}
		d.add("", name+": "+value)
	}
}

// message shows a message as JSON, whose blanks protojson changes from build to
// build.
func (d *details) message(m proto.Message) {
	var indented bytes.Buffer
	if text, err := protojson.Marshal(m); err == nil && json.Indent(&indented, text, "", "  ") == nil {
		d.text(indented.String())
	}
}

// grpc tells of a call what its HTTP exchange doesn't.
func (d *details) grpc(g *capstanv1.Grpc) {
	if g == nil {
		return
	}
	d.title("gRPC")
	d.field("service", g.GetService())
	d.field("method", g.GetMethod())
	status := "not seen"
	if g.GetStatusKnown() {
		status = strings.TrimSpace(fmt.Sprintf("%d %s %s", g.GetStatus(), codes.Code(g.GetStatus()), g.GetStatusMessage()))
	}
	d.field("status", status)
	if g.GetTimeoutNs() != 0 {
		d.field("deadline", time.Duration(g.GetTimeoutNs()).String())
	}
	d.grpcMessages("sent", g.GetRequestMessages(), g.GetRequestEncoding())
	d.grpcMessages("received", g.GetResponseMessages(), g.GetResponseEncoding())
}

// grpcMessages tells of those of one direction, seen from the client.
func (d *details) grpcMessages(name string, m *capstanv1.GrpcMessages, encoding string) {
	s := fmt.Sprintf("%s, %s", plural(m.GetCount(), "message"), figures.Size(m.GetBytes()))
	if n := m.GetCompressed(); n > 0 {
		s += fmt.Sprintf(", %s of them compressed by %s", figures.Count(n), encoding)
	}
	if m.GetIncomplete() {
		s += ", and what could not be followed"
	}
	d.field(name, s)
}

func (d *details) trailers(headers []*capstanv1.Header) {
	if len(headers) > 0 {
		d.add(dim, "trailers")
		d.headers(headers)
	}
}

// body shows what of a body is kept: JSON indented, other text by its lines, and
// the rest in hexadecimal.
func (d *details) body(b *capstanv1.Body) {
	if b.GetSize() == 0 {
		return
	}
	kept, size, coded := b.GetContent(), b.GetSize(), ""
	if len(b.GetDecoded()) > 0 {
		kept, size, coded = b.GetDecoded(), b.GetDecodedSize(), ", decoded"
	}
	note := fmt.Sprintf("body: %d bytes%s", size, coded)
	if uint64(len(kept)) < size {
		note += fmt.Sprintf(", the first %d are kept", len(kept))
	}
	if n := b.GetGapBytes(); n > 0 {
		note += fmt.Sprintf(", %d were never captured", n)
	}
	d.add("", "")
	d.add(dim, note)
	var indented bytes.Buffer
	switch {
	case json.Indent(&indented, kept, "", "  ") == nil:
		d.text(indented.String())
	case isText(kept):
		d.text(string(kept))
	default:
		d.text(hex.Dump(kept))
	}
}

// text shows a text by its lines.
func (d *details) text(s string) {
	for part := range strings.Lines(s) {
		part = strings.ReplaceAll(strings.TrimRight(part, "\r\n"), "\t", "    ")
		// A backslash is nothing to be afraid of, and doubled it would mislead.
		d.add("", strings.ReplaceAll(text.Safe(part), `\\`, `\`))
	}
}

// isText reports whether b is mostly printable UTF-8. Its end may be cut.
func isText(b []byte) bool {
	odd, total := 0, 0
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 && len(b) >= utf8.UTFMax || r < ' ' && !unicode.IsSpace(r) {
			odd++
		}
		total++
		b = b[n:]
	}
	return odd*20 <= total
}

func plural(n uint64, what string) string {
	if n != 1 {
		what += "s"
	}
	return figures.Count(n) + " " + what
}
