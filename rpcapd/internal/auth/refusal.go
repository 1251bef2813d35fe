package auth

// Refusal tells why a login failed: for the log and the counters, never for
// the peer.
type Refusal uint8

// The refusals.
const (
	refusedNot Refusal = iota
	RefusedUnknownUser
	RefusedPassword
	RefusedLocked          // or without a password
	RefusedAccountExpired  // field 8 of shadow(5)
	RefusedPasswordExpired // field 5 of shadow(5)
	RefusedHash            // stored hash not supported or too costly
	RefusedBlocked         // the peer has failed too often
	RefusedBusy            // no turn within the time the caller had
	RefusedMalformed       // name or password no account can have
	RefusedSource          // the accounts can't be read
	RefusedNull            // a login without credentials is not permitted
	RefusedType            // credentials of a kind that nobody knows
	RefusedMessage         // a message that can't be decoded
	NumRefusals
)

var refusalTexts = [NumRefusals]string{
	"", "unknown_user", "wrong_password", "account_locked", "account_expired", "password_expired",
	"unsupported_hash", "peer_blocked", "busy", "malformed", "accounts_unreadable",
	"null_not_permitted", "unknown_type", "bad_message",
}

// String returns the word for logs and labels.
func (r Refusal) String() string { return refusalTexts[r] }

// LoginError is a login that failed.
type LoginError struct {
	Refusal Refusal
	Err     error // details, where there are any
}

// Error tells the refusal and its details.
func (e *LoginError) Error() string {
	if e.Err == nil {
		return e.Refusal.String()
	}
	return e.Refusal.String() + ": " + e.Err.Error()
}

// Unwrap returns the details.
func (e *LoginError) Unwrap() error { return e.Err }
