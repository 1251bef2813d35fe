package exchange

import (
	"strings"

	capstanv1 "capstan/proto/capstan/v1"
)

// maxCodingFields is how many fields with codings are looked at; one more than
// codings are undone, so that too many are told as such.
const maxCodingFields = 5

// decodeAll undoes the codings of the bodies of x. What is decoded stays the
// recorder's, until the next record.
func (r *Recorder) decodeAll(x *capstanv1.Exchange, now *Screen, passed Screened) {
	if q := x.Request; q != nil && passed.Request != now {
		r.decode(0, q.Headers, q.Body)
	}
	if s := x.Response; s != nil && passed.Response != now {
		r.decode(1, s.Headers, s.Body)
	}
}

// maxUndone bounds what comes of Undo.
const maxUndone = 8 << 10

// Undo undoes the coding of encoded, a small part of a body such as a message of gRPC,
// and returns the first 8 KiB of what it decodes to, valid until the next call of any
// method; nothing if it is not of that coding. whole and all tell whether encoded and
// decoded are all that there was, and is.
func (r *Recorder) Undo(encoded []byte, whole bool, coding string) (decoded []byte, all bool) {
	decoded, result := r.content.Decode(r.decoded[0][:0], encoded, whole, []string{coding}, maxUndone)
	r.decoded[0] = decoded
	switch result.Decoding {
	case capstanv1.Decoding_DECODING_UNSPECIFIED: // identity
		return encoded, whole
	case capstanv1.Decoding_DECODING_COMPLETE, capstanv1.Decoding_DECODING_PARTIAL:
		return decoded, result.Decoding == capstanv1.Decoding_DECODING_COMPLETE && result.Size == uint64(len(decoded))
	}
	return nil, false
}

func (r *Recorder) decode(half int, headers []*capstanv1.Header, b *capstanv1.Body) {
	if len(b.GetContent()) == 0 {
		return
	}
	var room [maxCodingFields]string
	codings := codingsOf(room[:0], headers)
	if len(codings) == 0 {
		return
	}
	decoded, result := r.content.Decode(r.decoded[half][:0], b.Content, !b.Truncated, codings, r.BodyLimit())
	r.decoded[half] = decoded
	b.Decoded, b.DecodedSize, b.Decoding = decoded, result.Size, result.Decoding
	if result.Decoding != capstanv1.Decoding_DECODING_UNSPECIFIED {
		r.stats.Decoded[result.Decoding]++
	}
}

// codingFields name the fields that name codings, in the order of their application:
// those of the content come before those of its transfer.
var codingFields = []string{"Content-Encoding", "Transfer-Encoding"}

// codingsOf appends the values of codingFields, in that order.
func codingsOf(values []string, headers []*capstanv1.Header) []string {
	for _, name := range codingFields {
		for _, h := range headers {
			if len(h.Name) == len(name) && len(values) < cap(values) && strings.EqualFold(h.Name, name) {
				values = append(values, h.Value)
			}
		}
	}
	return values
}
