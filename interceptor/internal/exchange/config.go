package exchange

import (
	"slices"
	"sync/atomic"

	"capstan/interceptor/internal/content"
	capstanv1 "capstan/proto/capstan/v1"
)

// Config tells a [Recorder] what to put into records and where they go.
type Config struct {
	// Source is the URL or file name that every record carries. What of it isn't
	// UTF-8, as the names of files may be, becomes U+FFFD there.
	Source string
	// BodyLimit is how many bytes of a body a record may keep; 0 keeps none.
	// The recorder doesn't cut, the parsers ask for it and don't copy more.
	BodyLimit int
	// MaskHeaders names the header and trailer fields whose values are masked,
	// in any spelling. Nil stands for [DefaultMaskHeaders]; an empty list masks
	// nothing.
	MaskHeaders []string
	// MaskQuery names the parameters of URLs whose values are masked, in any
	// spelling. Nil stands for [DefaultMaskQuery]; an empty list masks nothing.
	MaskQuery []string
	// Keep, if not nil, stands for BodyLimit, MaskHeaders and MaskQuery, and may
	// change.
	Keep *Keep
	// Content bounds what the content codings of kept bodies decode to. As much
	// of it is kept as of the body.
	Content content.Config
	// Emit takes a finished record, which is valid during the call only and must
	// not be changed: records share memory.
	Emit func(*capstanv1.Exchange)
}

// DefaultMaskHeaders returns the fields masked unless configured otherwise:
// those that carry credentials or session identifiers.
func DefaultMaskHeaders() []string {
	return []string{
		"Authorization", "Proxy-Authorization", "Authentication-Info", "Proxy-Authentication-Info",
		"Cookie", "Cookie2", "Set-Cookie", "Set-Cookie2",
		"X-Api-Key", "Api-Key", "Apikey", "X-Auth-Token", "X-Access-Token", "X-Auth-Key", "X-Session-Token",
		"X-Amz-Security-Token", "X-Goog-Api-Key", "X-Goog-Iam-Authorization-Token", "Ocp-Apim-Subscription-Key",
		"X-Vault-Token", "X-Consul-Token", "X-Gitlab-Token", "Private-Token", "Job-Token", "X-Functions-Key",
		"X-Csrf-Token", "X-Xsrf-Token", "X-Forwarded-Access-Token", "X-Subject-Token", "X-Original-Authorization",
		"X-Forwarded-Authorization",
	}
}

// DefaultMaskQuery returns the parameters of URLs masked unless configured
// otherwise: those that carry credentials or sign for whoever has the URL, among
// them those of OpenTelemetry's semantic conventions (url.query). OAuth's state is not: it
// is used once, with the browser's session.
func DefaultMaskQuery() []string {
	return []string{
		"access_token", "auth_token", "id_token", "refresh_token", "session_token", "token", "jwt",
		"api_key", "api-key", "apikey", "client_secret", "secret", "password", "passwd", "sig", "signature",
		"AWSAccessKeyId", "X-Amz-Credential", "X-Amz-Security-Token", "X-Amz-Signature", "X-Goog-Credential", "X-Goog-Signature",
		maskOAuthCode, maskGoogleKey,
	}
}

// Parameters that are masked for what they look like, since others use their names for
// what is no secret: a name, "=", and the value, where ? stands for any byte and * for
// any number of them.
const (
	// OAuth's authorization code (RFC 6749 §4.1.2), which can hardly be guessed
	// (§10.10), whereas a status, a country or a product has a short one.
	maskOAuthCode = "code=????????????????*"
	// A key of Google's APIs.
	maskGoogleKey = "key=AIza*"
)

// Keep is what records may hold of messages. Any goroutine may change it at any
// time: records that are finished later, and body bytes that come later, follow.
type Keep struct{ now atomic.Pointer[Screen] }

// NewKeep returns a Keep; the parameters are Config's fields.
func NewKeep(bodyLimit int, maskHeaders, maskQuery []string) *Keep {
	k := new(Keep)
	k.Set(bodyLimit, maskHeaders, maskQuery)
	return k
}

// Set changes what records may hold.
func (k *Keep) Set(bodyLimit int, maskHeaders, maskQuery []string) {
	if maskHeaders == nil {
		maskHeaders = DefaultMaskHeaders()
	}
	if maskQuery == nil {
		maskQuery = DefaultMaskQuery()
	}
	k.now.Store(&Screen{
		bodyLimit: max(bodyLimit, 0),
		mask:      newMaskSet(maskHeaders),
		query:     newMaskSet(maskQuery),
		suspects:  newMaskSet(slices.Concat(maskHeaders, links, codingFields, []string{hostField, protocolField})),
	})
}
