package text

import (
	"strconv"
	"time"
	"unicode/utf8"

	capstanv1 "capstan/proto/capstan/v1"
)

// Widths of columns.
const (
	statusWidth   = len("200/16")
	durationWidth = len("999.9ms")
)

// appendColumns appends a line of the form
//
//	200/0 ! 3.4ms GET http://shop/cart?id=1 0 B/1.2 KiB 10.0.0.2:4711 → 10.0.0.1:8080 (bytes missing)
//
// status, with that of a gRPC call behind it; a mark if something is lacking;
// duration; method and URL, or what is known of a connection; sizes; both ends;
// and what is lacking.
func (e Encoder) appendColumns(dst []byte, x *capstanv1.Exchange) []byte {
	dst = e.appendStatusColumn(dst, x)
	if len(x.GetFlaws()) > 0 {
		dst = e.off(append(e.on(append(dst, ' '), yellow), '!'))
	} else {
		dst = append(dst, "  "...)
	}
	duration := roundDuration(time.Duration(x.GetDurationNs())).String()
	dst = appendBlanks(append(dst, ' '), durationWidth-utf8.RuneCountInString(duration))
	dst = append(append(dst, duration...), ' ')
	if x.GetConnection() != nil {
		dst = e.appendConnection(dst, x)
	} else {
		dst = e.appendRequest(dst, x.GetRequest())
		dst = appendSizes(append(dst, ' '), x)
	}
	dst = e.on(append(dst, ' '), dim)
	dst = e.off(appendEnds(dst, x))
	return append(e.appendFlaws(dst, x.GetFlaws()), '\n')
}

func (e Encoder) appendStatusColumn(dst []byte, x *capstanv1.Exchange) []byte {
	width := 0
	if x.GetConnection() == nil {
		dst = e.appendStatus(dst, x.GetResponse())
		width = 1 // of a dash
		if s := x.GetResponse().GetStatus(); s != 0 {
			width = len(strconv.FormatUint(uint64(s), 10))
		}
	}
	if g := x.GetGrpc(); g.GetStatusKnown() {
		code := strconv.FormatUint(uint64(g.GetStatus()), 10)
		color := green
		if g.GetStatus() != 0 {
			color = red
		}
		dst = e.on(append(dst, '/'), color)
		dst = e.off(append(dst, code...))
		width += 1 + len(code)
	}
	return appendBlanks(dst, statusWidth-width)
}

func appendBlanks(dst []byte, n int) []byte {
	for ; n > 0; n-- {
		dst = append(dst, ' ')
	}
	return dst
}
