package exchange

import (
	"sync/atomic"

	"capstan/interceptor/internal/content"
	capstanv1 "capstan/proto/capstan/v1"
)

// Config tells a [Recorder] what to put into records and where they go.
type Config struct {
	// Source is the URL or file name that every record carries. What of it isn't
	// UTF-8, as the names of files may be, becomes U+FFFD there.
	Source string
	// Keep is what records may hold of messages, and may change. Nil keeps no bodies,
	// and masks what is usual.
	Keep *Keep
	// Content bounds what the content codings of kept bodies decode to. As much
	// of it is kept as of the body.
	Content content.Config
	// Emit takes a finished record, which is valid during the call only and must
	// not be changed: records share memory.
	Emit func(*capstanv1.Exchange)
}

// DefaultMaskHeaders returns the fields masked unless configured otherwise:
// those that carry credentials or session identifiers. One that begins with * stands for
// all names that end so, and one that begins with - is not masked for its name, whatever
// other one stands for it.
func DefaultMaskHeaders() []string {
	return []string{
		"*Authorization", "*Token", "*Api-Key", "*Apikey", "*Access-Key", "*Auth-Key", "*Secret", "*Password", "*Assertion",
		"Authentication-Info", "Proxy-Authentication-Info", "Cookie", "Cookie2", "Set-Cookie", "Set-Cookie2",
		"Ocp-Apim-Subscription-Key", "X-Functions-Key", "X-Rapidapi-Key", "DD-Application-Key",
		"X-Sentry-Auth", "X-Tableau-Auth",
	}
}

// DefaultMaskQuery returns the parameters of URLs masked unless configured
// otherwise: those that carry credentials or sign for whoever has the URL, among
// them those of OpenTelemetry's semantic conventions (url.query). OAuth's state is not: it
// is used once, with the browser's session. Capitals and what separates words make no
// difference, * and - are as in [DefaultMaskHeaders].
//
// Others use some names for what is no secret. These are listed with "=" and what values
// look like that are masked, where ? stands for any byte and * for any number of them.
func DefaultMaskQuery() []string {
	return []string{
		"*token", "*password", "*passwd", "*passphrase", "pwd", "pass", "*secret", "*credential", "*credentials", "*signature", "sig",
		"*api_key", "*secret_key", "*private_key", "access_key", "secret_access_key", "auth_key", "subscription_key",
		"AWSAccessKeyId", "OSSAccessKeyId", "jwt", "bearer", "auth", "authorization", "*assertion", "SAMLResponse",
		"jsessionid", "phpsessid", "sessid", "otp",
		// OAuth's authorization code (RFC 6749 §4.1.2), which can hardly be guessed
		// (§10.10), whereas a status, a country or a product has a short one.
		"code=????????????????*",
		// A ticket of CAS, whereas that of a tracker is short; sessions, as of Engine.IO.
		"ticket=????????????????*", "session=????????????????*", "sid=????????????????*",
		// A key of Google's APIs.
		"key=AIza*",
		maskJWT,
	}
}

// maskJWT stands for JSON web tokens, whatever parameter they are, and in paths.
const maskJWT = "eyJ*.*.*"

// Keep is what records may hold of messages. Any goroutine may change it at any
// time: records that are finished later, and body bytes that come later, follow.
type Keep struct{ now atomic.Pointer[Screen] }

// NewKeep returns a Keep.
//
// bodyLimit is how many bytes of a body a record may keep; 0 keeps none. The recorder
// doesn't cut, the parsers ask for it and don't copy more.
//
// maskHeaders names the header and trailer fields whose values are masked, in any spelling.
// Nil stands for [DefaultMaskHeaders]; an empty list masks nothing, and any other one also
// what looks like a credential in other fields, and user information.
//
// maskQuery names the parameters of URLs whose values are masked, in any spelling. Nil
// stands for [DefaultMaskQuery]; an empty list masks nothing.
func NewKeep(bodyLimit int, maskHeaders, maskQuery []string) *Keep {
	k := new(Keep)
	k.Set(bodyLimit, maskHeaders, maskQuery)
	return k
}

// Set changes what records may hold: see [NewKeep].
func (k *Keep) Set(bodyLimit int, maskHeaders, maskQuery []string) {
	if maskHeaders == nil {
		maskHeaders = DefaultMaskHeaders()
	}
	if maskQuery == nil {
		maskQuery = DefaultMaskQuery()
	}
	k.now.Store(newScreen(bodyLimit, maskHeaders, maskQuery))
}
