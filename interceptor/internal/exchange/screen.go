package exchange

import (
	"slices"
	"strings"
)

// Screen tells what is done to the fields of a message before its record leaves. It
// is one state of a Keep, and never changes.
type Screen struct {
	bodyLimit   int
	mask        *maskSet // of fields
	query       *parameterSet
	urls, hosts *maskSet // fields with these
	names       *maskSet // all fields that something may be done about for their names
}

func newScreen(bodyLimit int, maskHeaders, maskQuery []string) *Screen {
	return &Screen{
		bodyLimit: max(bodyLimit, 0),
		mask:      newMaskSet(maskHeaders),
		query:     newParameterSet(maskQuery),
		urls:      newMaskSet(urlFields),
		hosts:     newMaskSet(hostFields),
		names:     newMaskSet(slices.Concat(maskHeaders, urlFields, hostFields, codingFields, []string{protocolField})),
	}
}

// Screen returns the one that holds now.
func (r *Recorder) Screen() *Screen { return r.cfg.Keep.now.Load() }

// Masks reports whether a field of a request or a response is to be masked, or is in part.
func (s *Screen) Masks(name, value string) bool {
	if !s.suspects(name, value) {
		return false
	}
	_, what := s.maskField(name, value)
	return what != 0
}

// Passes reports whether nothing is to be done about a field of a header section: it
// holds nothing to be masked, nor does it name a coding of the body.
func (s *Screen) Passes(name, value string) bool {
	if !s.suspects(name, value) {
		return true
	}
	if _, what := s.maskField(name, value); what != 0 {
		return false
	}
	return !slices.ContainsFunc(codingFields, func(c string) bool { return sameName(c, name) }) || strings.EqualFold(value, "chunked") // which parsers undo
}

// Screened are the screens that all fields of a header section have passed, of the
// request and of the response; nil where nobody has looked.
type Screened struct{ Request, Response *Screen }
