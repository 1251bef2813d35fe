// Package har writes records as an HTTP Archive (HAR 1.2,
// http://www.softwareishard.com/blog/har-12-spec/), which browsers and proxies
// open.
//
// A record that is no exchange, that of a connection, has no place in one. What
// was not captured is told in comments. Bodies are as decoded as the record has
// them; what isn't UTF-8 is base64.
package har

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"capstan/interceptor/internal/sink/text"
	capstanv1 "capstan/proto/capstan/v1"
)

// Writer writes one archive. Its methods are for one goroutine.
type Writer struct {
	w       io.Writer
	entries int
	err     error // of the first write that failed
}

// New returns a Writer of an archive made by version of the interceptor.
func New(w io.Writer, version string) *Writer {
	h := &Writer{w: w}
	v, _ := json.Marshal(version) // a string always has JSON
	h.write([]byte(`{"log":{"version":"1.2","creator":{"name":"capstan","version":` + string(v) + `},"entries":[`))
	return h
}

func (h *Writer) write(b []byte) {
	if h.err == nil {
		_, h.err = h.w.Write(b)
	}
}

// Write writes x, unless it is the record of a connection. The archive is valid
// after Close only.
func (h *Writer) Write(x *capstanv1.Exchange) error {
	if x.GetRequest() == nil && x.GetResponse() == nil {
		return h.err
	}
	b, err := json.Marshal(newEntry(x))
	if err != nil {
		return fmt.Errorf("har: %w", err)
	}
	sep := ",\n"
	if h.entries == 0 {
		sep = "\n"
	}
	h.entries++
	h.write(append([]byte(sep), b...))
	return h.err
}

// Close ends the archive.
func (h *Writer) Close() error {
	h.write([]byte("\n]}}\n"))
	return h.err
}

type entry struct {
	Started    string   `json:"startedDateTime"`
	Time       float64  `json:"time"` // milliseconds
	Request    request  `json:"request"`
	Response   response `json:"response"`
	Cache      struct{} `json:"cache"`
	Timings    timings  `json:"timings"`
	ServerIP   string   `json:"serverIPAddress,omitempty"`
	Connection string   `json:"connection,omitempty"`
	Comment    string   `json:"comment,omitempty"`
}

type request struct {
	Method      string    `json:"method"`
	URL         string    `json:"url"`
	HTTPVersion string    `json:"httpVersion"`
	Cookies     []pair    `json:"cookies"`
	Headers     []pair    `json:"headers"`
	QueryString []pair    `json:"queryString"`
	PostData    *postData `json:"postData,omitempty"`
	HeadersSize int       `json:"headersSize"` // -1: not known
	BodySize    uint64    `json:"bodySize"`
	Trailers    []pair    `json:"_trailers,omitempty"` // the format has none, but fields of one's own
}

type response struct {
	Status      uint32  `json:"status"`
	StatusText  string  `json:"statusText"`
	HTTPVersion string  `json:"httpVersion"`
	Cookies     []pair  `json:"cookies"`
	Headers     []pair  `json:"headers"`
	Content     content `json:"content"`
	RedirectURL string  `json:"redirectURL"`
	HeadersSize int     `json:"headersSize"`
	BodySize    uint64  `json:"bodySize"`
	Trailers    []pair  `json:"_trailers,omitempty"`
}

type pair struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	Comment string `json:"comment,omitempty"`
}

type postData struct {
	MimeType string `json:"mimeType"`
	Params   []pair `json:"params"`
	Text     string `json:"text"`
	Comment  string `json:"comment,omitempty"`
}

type content struct {
	Size     uint64 `json:"size"`
	MimeType string `json:"mimeType"`
	Text     string `json:"text,omitempty"`
	Encoding string `json:"encoding,omitempty"`
	Comment  string `json:"comment,omitempty"`
}

type timings struct {
	Send    float64 `json:"send"`
	Wait    float64 `json:"wait"`
	Receive float64 `json:"receive"`
}

func milliseconds(ns int64) float64 { return float64(max(ns, 0)) / 1e6 }

func newEntry(x *capstanv1.Exchange) *entry {
	q, p := x.GetRequest(), x.GetResponse()
	connection, _, _ := strings.Cut(x.GetId(), "-")
	e := &entry{
		Started:  time.Unix(0, int64(x.GetStartTimeUnixNs())).UTC().Format(time.RFC3339Nano),
		Request:  newRequest(q),
		Response: newResponse(p),
		ServerIP: x.GetServer().GetAddress(), Connection: connection,
		Timings: timings{Send: milliseconds(int64(q.GetLastByteUnixNs() - q.GetFirstByteUnixNs()))},
	}
	if p != nil {
		e.Timings.Receive = milliseconds(int64(p.GetLastByteUnixNs() - p.GetFirstByteUnixNs()))
		if q != nil {
			e.Timings.Wait = milliseconds(int64(p.GetFirstByteUnixNs() - q.GetLastByteUnixNs()))
		}
	}
	e.Time = e.Timings.Send + e.Timings.Wait + e.Timings.Receive // as the format demands
	var comments []string
	for _, f := range x.GetFlaws() {
		comments = append(comments, strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(f.String(), "FLAW_"), "_", " ")))
	}
	e.Comment = strings.Join(comments, ", ")
	return e
}

func newRequest(q *capstanv1.HttpRequest) request {
	r := request{
		Method: q.GetMethod(), URL: text.URL(q), HTTPVersion: q.GetVersion(), Cookies: []pair{}, Headers: pairs(q.GetHeaders()),
		QueryString: []pair{}, HeadersSize: -1, BodySize: q.GetBody().GetSize(), Trailers: pairs(q.GetTrailers()),
	}
	if _, query, ok := strings.Cut(q.GetTarget(), "?"); ok {
		r.QueryString = queryPairs(query)
	}
	if b := q.GetBody(); b.GetSize() > 0 {
		c := newContent(b, header(q.GetHeaders(), "content-type"))
		r.PostData = &postData{MimeType: c.MimeType, Params: []pair{}, Text: c.Text, Comment: c.Comment}
		if c.Encoding != "" { // which a request has no field for
			r.PostData.Comment = strings.Trim("text is "+c.Encoding+", "+c.Comment, ", ")
		}
	}
	return r
}

func newResponse(p *capstanv1.HttpResponse) response {
	return response{
		Status: p.GetStatus(), StatusText: p.GetReason(), HTTPVersion: p.GetVersion(), Cookies: []pair{}, Headers: pairs(p.GetHeaders()),
		Content: newContent(p.GetBody(), header(p.GetHeaders(), "content-type")), RedirectURL: header(p.GetHeaders(), "location"),
		HeadersSize: -1, BodySize: p.GetBody().GetSize(), Trailers: pairs(p.GetTrailers()),
	}
}

func newContent(b *capstanv1.Body, mimeType string) content {
	c := content{Size: b.GetSize(), MimeType: mimeType}
	kept, whole := b.GetContent(), !b.GetTruncated()
	if len(b.GetDecoded()) > 0 {
		kept, c.Size = b.GetDecoded(), b.GetDecodedSize()
		whole = uint64(len(kept)) == c.Size && b.GetDecoding() == capstanv1.Decoding_DECODING_COMPLETE
	}
	if !whole {
		c.Comment = fmt.Sprintf("%d bytes of the body are kept", len(kept))
	}
	if utf8.Valid(kept) {
		c.Text = string(kept)
	} else {
		c.Text, c.Encoding = base64.StdEncoding.EncodeToString(kept), "base64"
	}
	return c
}

func pairs(headers []*capstanv1.Header) []pair {
	all := make([]pair, 0, len(headers))
	for _, h := range headers {
		p := pair{Name: h.GetName(), Value: h.GetValue()}
		if h.GetNameUnknown() || h.GetValueUnknown() {
			p.Comment = "not known"
		}
		all = append(all, p)
	}
	return all
}

// queryPairs takes a query apart as far as it is one; order is kept.
func queryPairs(query string) []pair {
	all := []pair{}
	for part := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(part, "=")
		if part != "" {
			all = append(all, pair{Name: unescape(name), Value: unescape(value)})
		}
	}
	return all
}

func unescape(s string) string {
	if plain, err := url.QueryUnescape(s); err == nil {
		return plain
	}
	return s
}

// header returns the value of the first header field of a name.
func header(headers []*capstanv1.Header, name string) string {
	for _, h := range headers {
		if strings.EqualFold(h.GetName(), name) {
			return h.GetValue()
		}
	}
	return ""
}
