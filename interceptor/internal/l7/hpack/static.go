package hpack

// staticLen is the number of entries of the static table; the dynamic table is
// numbered from the next on.
const staticLen = 61

// Indexes of names in the static table: see [Field.Static].
const (
	StaticAuthority     = 1
	StaticMethod        = 2
	StaticPath          = 4
	StaticScheme        = 6
	StaticStatus        = 8 // the last one of a pseudo-header field
	lastStatus          = 14
	StaticContentLength = 28
	StaticContentType   = 31
	StaticHost          = 38
)

// static is the static table (RFC 7541 appendix A), which counts from 1;
// staticNames are the indexes of its names, of the first entry with each. Read
// only.
var static, staticNames = newStatic()

func newStatic() (fields [staticLen + 1]Field, names map[string]uint8) {
	names = make(map[string]uint8)
	for i := 1; i <= staticLen; i++ {
		e := &staticEntries[i]
		if names[e.name] == 0 {
			names[e.name] = uint8(i)
		}
		fields[i] = Field{Name: e.name, Value: e.value, Form: Indexed, UTF8: true, Static: names[e.name]}
		fields[i].judge()
	}
	return fields, names
}

var staticEntries = [staticLen + 1]struct{ name, value string }{
	1:  {":authority", ""},
	2:  {":method", "GET"},
	3:  {":method", "POST"},
	4:  {":path", "/"},
	5:  {":path", "/index.html"},
	6:  {":scheme", "http"},
	7:  {":scheme", "https"},
	8:  {":status", "200"},
	9:  {":status", "204"},
	10: {":status", "206"},
	11: {":status", "304"},
	12: {":status", "400"},
	13: {":status", "404"},
	14: {":status", "500"},
	15: {"accept-charset", ""},
	16: {"accept-encoding", "gzip, deflate"},
	17: {"accept-language", ""},
	18: {"accept-ranges", ""},
	19: {"accept", ""},
	20: {"access-control-allow-origin", ""},
	21: {"age", ""},
	22: {"allow", ""},
	23: {"authorization", ""},
	24: {"cache-control", ""},
	25: {"content-disposition", ""},
	26: {"content-encoding", ""},
	27: {"content-language", ""},
	28: {"content-length", ""},
	29: {"content-location", ""},
	30: {"content-range", ""},
	31: {"content-type", ""},
	32: {"cookie", ""},
	33: {"date", ""},
	34: {"etag", ""},
	35: {"expect", ""},
	36: {"expires", ""},
	37: {"from", ""},
	38: {"host", ""},
	39: {"if-match", ""},
	40: {"if-modified-since", ""},
	41: {"if-none-match", ""},
	42: {"if-range", ""},
	43: {"if-unmodified-since", ""},
	44: {"last-modified", ""},
	45: {"link", ""},
	46: {"location", ""},
	47: {"max-forwards", ""},
	48: {"proxy-authenticate", ""},
	49: {"proxy-authorization", ""},
	50: {"range", ""},
	51: {"referer", ""},
	52: {"refresh", ""},
	53: {"retry-after", ""},
	54: {"server", ""},
	55: {"set-cookie", ""},
	56: {"strict-transport-security", ""},
	57: {"transfer-encoding", ""},
	58: {"user-agent", ""},
	59: {"vary", ""},
	60: {"via", ""},
	61: {"www-authenticate", ""},
}
