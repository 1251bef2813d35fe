package session

import "capstan/pkg/rpcap"

// state is where a session stands.
type state uint8

const (
	stateAuth      state = iota // not yet authenticated
	stateIdle                   // authenticated, no device opened
	stateOpened                 // a device is opened
	stateCapturing              // a capture runs, or has lost its data connection
	numStates
)

var stateNames = [numStates]string{"auth", "idle", "opened", "capturing"}

// String returns the state's name.
func (s state) String() string { return stateNames[s] }

// event is what a message from the client amounts to.
type event uint8

const (
	eventError event = iota
	eventFindAllIf
	eventOpen
	eventStartCap
	eventUpdateFilter
	eventClose
	eventAuth
	eventStats
	eventEndCap
	eventSetSampling
	eventServerMessage // PACKET or a reply, which only servers send
	eventUnknown       // a type that the protocol doesn't have
	eventVersion       // any type in a version other than 0
	numEvents
)

// requestEvents are the types that clients send.
var requestEvents = map[rpcap.Type]event{
	rpcap.TypeError:            eventError,
	rpcap.TypeFindAllIfRequest: eventFindAllIf,
	rpcap.TypeOpenRequest:      eventOpen,
	rpcap.TypeStartCapRequest:  eventStartCap,
	rpcap.TypeUpdateFilterReq:  eventUpdateFilter,
	rpcap.TypeClose:            eventClose,
	rpcap.TypeAuthRequest:      eventAuth,
	rpcap.TypeStatsRequest:     eventStats,
	rpcap.TypeEndCapRequest:    eventEndCap,
	rpcap.TypeSetSamplingReq:   eventSetSampling,
}

func eventOf(h rpcap.Header) event {
	if h.Version != rpcap.Version {
		return eventVersion
	}
	if e, ok := requestEvents[h.Type]; ok {
		return e
	}
	if h.Type.Known() {
		return eventServerMessage
	}
	return eventUnknown
}

// action is what a session does about a message.
type action uint8

const (
	doNothing action = iota
	doLogError
	doAuthenticate
	doList
	doOpen
	doStart
	doUpdateFilter
	doStats
	doEnd
	doSetSampling

	// The refusals, each an ERROR with a text of its own.
	refuseUnauthenticated
	refuseAuthenticated
	refuseServerMessage
	refuseUnknown
	refuseVersionInAuth
	refuseVersion
	refuseStartUnopened
	refuseStartRunning
	refuseUpdateFilter
	refuseEnd
	numActions
)

// decision is an entry of the session's table: what to do, and whether the
// connection is closed after that.
type decision struct {
	action action
	closes bool
}

// decisions is the session's table. The states change in three places:
// authenticate (auth → idle), open (→ opened) and start/end of a capture
// (opened ↔ capturing).
//
// Deviation: the reference starts a second capture and forgets the first,
// leaves the body of an UPDATEFILTER or ENDCAP without capture in the stream,
// and sends an empty text for an unknown type.
var decisions = [numStates][numEvents]decision{
	stateAuth: {
		eventError:         {doLogError, true},
		eventFindAllIf:     {refuseUnauthenticated, false},
		eventOpen:          {refuseUnauthenticated, false},
		eventStartCap:      {refuseUnauthenticated, false},
		eventUpdateFilter:  {refuseUnauthenticated, false},
		eventClose:         {doNothing, true},
		eventAuth:          {doAuthenticate, false},
		eventStats:         {refuseUnauthenticated, false},
		eventEndCap:        {refuseUnauthenticated, false},
		eventSetSampling:   {refuseUnauthenticated, false},
		eventServerMessage: {refuseServerMessage, false},
		eventUnknown:       {refuseUnknown, false},
		eventVersion:       {refuseVersionInAuth, true},
	},
	stateIdle: {
		eventError:         {doLogError, false},
		eventFindAllIf:     {doList, false},
		eventOpen:          {doOpen, false},
		eventStartCap:      {refuseStartUnopened, false},
		eventUpdateFilter:  {refuseUpdateFilter, false},
		eventClose:         {doNothing, true},
		eventAuth:          {refuseAuthenticated, true},
		eventStats:         {doStats, false},
		eventEndCap:        {refuseEnd, false},
		eventSetSampling:   {doSetSampling, false},
		eventServerMessage: {refuseServerMessage, true},
		eventUnknown:       {refuseUnknown, true},
		eventVersion:       {refuseVersion, true},
	},
	stateOpened: {
		eventError:         {doLogError, false},
		eventFindAllIf:     {doList, false},
		eventOpen:          {doOpen, false},
		eventStartCap:      {doStart, false},
		eventUpdateFilter:  {refuseUpdateFilter, false},
		eventClose:         {doNothing, true},
		eventAuth:          {refuseAuthenticated, true},
		eventStats:         {doStats, false},
		eventEndCap:        {refuseEnd, false},
		eventSetSampling:   {doSetSampling, false},
		eventServerMessage: {refuseServerMessage, true},
		eventUnknown:       {refuseUnknown, true},
		eventVersion:       {refuseVersion, true},
	},
	stateCapturing: {
		eventError:         {doLogError, false},
		eventFindAllIf:     {doList, false},
		eventOpen:          {doOpen, false},
		eventStartCap:      {refuseStartRunning, false},
		eventUpdateFilter:  {doUpdateFilter, false},
		eventClose:         {doNothing, true},
		eventAuth:          {refuseAuthenticated, true},
		eventStats:         {doStats, false},
		eventEndCap:        {doEnd, false},
		eventSetSampling:   {doSetSampling, false},
		eventServerMessage: {refuseServerMessage, true},
		eventUnknown:       {refuseUnknown, true},
		eventVersion:       {refuseVersion, true},
	},
}
