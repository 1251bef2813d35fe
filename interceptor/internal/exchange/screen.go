package exchange

import "strings"

// Screen tells what is done to the fields of a message before its record leaves. It
// is one state of a Keep, and never changes.
type Screen struct {
	bodyLimit int
	mask      *maskSet // of fields
	query     *maskSet // of parameters
	suspects  *maskSet // of fields that Passes may refuse
}

// Screen returns the one that holds now.
func (r *Recorder) Screen() *Screen { return r.cfg.Keep.now.Load() }

// Masks reports whether a field of a request or a response is to be masked, or may be
// in part.
func (s *Screen) Masks(name, value string) bool {
	return s.mask.lists(name) || isLink(name) || isBearer(name, value) || strings.IndexByte(value, '@') >= 0 && strings.EqualFold(name, hostField)
}

// Passes reports whether nothing is to be done about a field of a header section: it
// holds nothing to be masked, nor does it name a coding of the body.
func (s *Screen) Passes(name, value string) bool {
	switch {
	case !s.suspects.lists(name):
		return true
	case s.Masks(name, value):
		return false
	case strings.EqualFold(name, hostField), strings.EqualFold(name, protocolField):
		return true // without user information, or a token
	}
	return strings.EqualFold(value, "chunked") // which parsers undo
}

// Screened are the screens that all fields of a header section have passed, of the
// request and of the response; nil where nobody has looked.
type Screened struct{ Request, Response *Screen }
