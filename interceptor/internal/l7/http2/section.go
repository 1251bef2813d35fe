package http2

import (
	"strconv"

	"capstan/interceptor/internal/l7/hpack"
)

// section is a header section taken apart: pseudo-header fields (RFC 9113 §8.3)
// and the others. Of a field that comes twice the first counts.
type section struct {
	method, scheme, authority, path, protocol, status pseudo

	host, contentType pseudo        // which are none
	length            int64         // of content-length, or lengthUnknown
	regular           []hpack.Field // may share memory with the decoder's result
	unknown           uint64        // fields of which name or value is unknown
	request           bool          // a pseudo-header field of requests is there
	response          bool          // :status is there
	trailers          bool          // its first field is no pseudo-header field, or there is none
	unclear           bool          // the name of its first field is unknown, and no pseudo-header field is known
	cut               bool          // fields behind these are not here
	part              bool          // because they were not captured, else because of a limit
	malformed         bool
	impossible        bool // nobody sends such fields
	doubted           bool // one of them came into the table while frames were guessed
}

// pseudo is the value of a pseudo-header field, or of one that is looked for as
// often, as a record holds it.
type pseudo struct {
	value         string
	seen, unknown bool
}

// set takes the first field of its kind; ok is false for others.
func (p *pseudo) set(f *hpack.Field) (ok bool) {
	if p.seen {
		return false
	}
	p.value, p.seen, p.unknown = text(f, f.Value), true, f.ValueUnknown
	return true
}

// parse takes fields apart. The regular ones it moves together, if they are not.
func (s *section) parse(fields []hpack.Field, cut bool) {
	s.cut, s.length = cut, lengthUnknown
	s.unclear = len(fields) > 0 && fields[0].NameUnknown
	s.trailers = len(fields) == 0 || !s.unclear && !isPseudo(&fields[0])
	first, next := 0, 0 // of the regular ones, and behind them
	pseudoOver := false
	for i := range fields {
		f := &fields[i]
		if f.NameUnknown || f.ValueUnknown {
			s.unknown++
		}
		s.doubted = s.doubted || f.Doubted
		switch {
		case f.NameUnknown:
		case isPseudo(f):
			ok := s.pseudo(f)
			s.malformed = s.malformed || pseudoOver || !ok
			if first == next {
				first, next = i+1, i+1
			}
			continue
		default:
			pseudoOver = true
			s.check(f)
		}
		if next < i {
			fields[next] = *f
		}
		next++
	}
	s.regular = fields[first:next]
	s.unclear = s.unclear && !s.request && !s.response // trailers have none
	s.malformed = s.malformed || s.impossible || s.request && s.response
}

func isPseudo(f *hpack.Field) bool {
	if f.Static > 0 {
		return f.Static <= hpack.StaticStatus
	}
	return len(f.Name) > 0 && f.Name[0] == ':'
}

// pseudo takes a pseudo-header field; ok is false if there is no such field, it is there
// already, or has what it may not have.
func (s *section) pseudo(f *hpack.Field) (ok bool) {
	var p *pseudo
	switch f.Static {
	case hpack.StaticMethod:
		p, s.request = &s.method, true
	case hpack.StaticScheme:
		p, s.request = &s.scheme, true
	case hpack.StaticAuthority:
		p, s.request = &s.authority, true
	case hpack.StaticPath:
		p, s.request = &s.path, true
	case hpack.StaticStatus:
		p, s.response = &s.status, true
		if !f.ValueUnknown && parseStatus(f.Value) == 0 {
			s.impossible = true
		}
	default:
		if f.Name != ":protocol" {
			s.impossible = true
			return false
		}
		p, s.request = &s.protocol, true
	}
	return p.set(f) && (f.Static == 0 || f.Fault == hpack.FaultNone)
}

// lengthUnknown stands for a content-length that is not there or not known.
const lengthUnknown = -1

// check looks at a regular field (RFC 9113 §8.2).
func (s *section) check(f *hpack.Field) {
	switch f.Static {
	case hpack.StaticContentLength:
		n, err := strconv.ParseUint(f.Value, 10, 63)
		s.malformed = s.malformed || err != nil || s.length != lengthUnknown && s.length != int64(n)
		s.length = int64(n)
	case hpack.StaticContentType:
		s.contentType.set(f)
	case hpack.StaticHost:
		s.host.set(f)
	}
	if f.Fault != hpack.FaultNone {
		s.malformed = true
		// An entry of the table may be there long after its text was believed.
		s.impossible = s.impossible || f.Fault == hpack.FaultText && f.Form != hpack.Indexed
	}
}

// parseStatus returns the status that s says, or 0.
func parseStatus(s string) uint32 {
	if len(s) != 3 || s[0] < '1' || s[0] > '9' || s[1] < '0' || s[1] > '9' || s[2] < '0' || s[2] > '9' {
		return 0
	}
	return uint32(s[0]-'0')*100 + uint32(s[1]-'0')*10 + uint32(s[2]-'0')
}
