package content

import "strings"

// coding is a content coding that can be undone.
type coding uint8

const (
	gzipCoding coding = iota
	deflateCoding
	brotliCoding
	zstdCoding
	numCodings
)

// parse appends the codings that values name to list, identity left out. ok is
// false if one is not known or there are too many.
func parse(list []coding, values []string) (_ []coding, ok bool) {
	for _, value := range values {
		for more := true; more; {
			var name string
			name, value, more = strings.Cut(value, ",")
			name, _, _ = strings.Cut(name, ";") // transfer codings have parameters
			c, identity, known := lookup(strings.Trim(name, " \t"))
			switch {
			case identity:
			case !known || len(list) == cap(list):
				return nil, false
			default:
				list = append(list, c)
			}
		}
	}
	return list, true
}

// lookup returns the coding of a name (RFC 9110 §8.4.1, RFC 7932, RFC 9659).
func lookup(name string) (c coding, identity, known bool) {
	switch {
	case name == "", strings.EqualFold(name, "identity"), strings.EqualFold(name, "chunked"):
		return 0, true, true // bodies come with their chunks joined
	case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
		return gzipCoding, false, true
	case strings.EqualFold(name, "deflate"):
		return deflateCoding, false, true
	case strings.EqualFold(name, "br"):
		return brotliCoding, false, true
	case strings.EqualFold(name, "zstd"):
		return zstdCoding, false, true
	}
	return 0, false, false
}
