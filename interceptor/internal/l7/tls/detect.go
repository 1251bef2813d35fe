package tls

// Content types of records (RFC 8446 §5.1).
const (
	typeChangeCipherSpec = 20
	typeAlert            = 21
	typeHandshake        = 22
	typeApplicationData  = 23
)

const (
	recordHeaderLen = 5
	// maxRecordLen is the longest record, with the expansion TLS 1.2 allows.
	maxRecordLen = 16384 + 2048
)

// LooksLikeRecord reports whether b starts with the header of a record: content
// type 20 to 23, version 3.0 to 3.4, and a length that a record may have. With ok
// false, needMore tells that more bytes could still make it true.
func LooksLikeRecord(b []byte) (ok, needMore bool) {
	for i, c := range b[:min(len(b), 3)] {
		switch {
		case i == 0 && (c < typeChangeCipherSpec || c > typeApplicationData), i == 1 && c != 3, i == 2 && c > 4:
			return false, false
		}
	}
	if len(b) < recordHeaderLen {
		return false, true
	}
	length := int(b[3])<<8 | int(b[4])
	return length > 0 && length <= maxRecordLen, false
}

// StartsClientHello reports whether b starts with a record that starts with a ClientHello
// (RFC 8446 §4, §5.1).
func StartsClientHello(b []byte) bool { return startsWith(clientHello, b) }

// StartsServerHello is StartsClientHello for a ServerHello.
func StartsServerHello(b []byte) bool { return startsWith(serverHello, b) }

func startsWith(message byte, b []byte) bool {
	return len(b) > recordHeaderLen && b[0] == typeHandshake && b[1] == 3 && b[recordHeaderLen] == message
}
