package ikewire

// NotifyType is IANA's "IKEv2 Notify Message Types", RFC 7296 section 3.10.1: errors
// below 16384, status above.
type NotifyType uint16

// Error types.
const (
	UnsupportedCriticalPayload NotifyType = 1  // RFC 7296
	InvalidIKESPI              NotifyType = 4  // RFC 7296
	InvalidMajorVersion        NotifyType = 5  // RFC 7296
	InvalidSyntax              NotifyType = 7  // RFC 7296
	InvalidMessageID           NotifyType = 9  // RFC 7296
	InvalidSPI                 NotifyType = 11 // RFC 7296
	NoProposalChosen           NotifyType = 14 // RFC 7296
	InvalidKEPayload           NotifyType = 17 // RFC 7296
	AuthenticationFailed       NotifyType = 24 // RFC 7296
	SinglePairRequired         NotifyType = 34 // RFC 7296
	NoAdditionalSAs            NotifyType = 35 // RFC 7296
	InternalAddressFailure     NotifyType = 36 // RFC 7296
	FailedCPRequired           NotifyType = 37 // RFC 7296
	TSUnacceptable             NotifyType = 38 // RFC 7296
	InvalidSelectors           NotifyType = 39 // RFC 7296
	UnacceptableAddresses      NotifyType = 40 // RFC 4555
	UnexpectedNATDetected      NotifyType = 41 // RFC 4555
	UseAssignedHoA             NotifyType = 42 // RFC 5026
	TemporaryFailure           NotifyType = 43 // RFC 7296
	ChildSANotFound            NotifyType = 44 // RFC 7296
	InvalidGroupID             NotifyType = 45 // RFC 9838
	AuthorizationFailed        NotifyType = 46 // RFC 9838
	StateNotFound              NotifyType = 47 // RFC 9370
	TSMaxQueue                 NotifyType = 48 // RFC 9611
	RegistrationFailed         NotifyType = 49 // RFC 9838
)

// Status types.
const (
	InitialContact                  NotifyType = 16384 // RFC 7296
	SetWindowSize                   NotifyType = 16385 // RFC 7296
	AdditionalTSPossible            NotifyType = 16386 // RFC 7296
	IPCompSupported                 NotifyType = 16387 // RFC 7296
	NATDetectionSourceIP            NotifyType = 16388 // RFC 7296
	NATDetectionDestinationIP       NotifyType = 16389 // RFC 7296
	Cookie                          NotifyType = 16390 // RFC 7296
	UseTransportMode                NotifyType = 16391 // RFC 7296
	HTTPCertLookupSupported         NotifyType = 16392 // RFC 7296
	RekeySA                         NotifyType = 16393 // RFC 7296
	ESPTFCPaddingNotSupported       NotifyType = 16394 // RFC 7296
	NonFirstFragmentsAlso           NotifyType = 16395 // RFC 7296
	MOBIKESupported                 NotifyType = 16396 // RFC 4555
	AdditionalIP4Address            NotifyType = 16397 // RFC 4555
	AdditionalIP6Address            NotifyType = 16398 // RFC 4555
	NoAdditionalAddresses           NotifyType = 16399 // RFC 4555
	UpdateSAAddresses               NotifyType = 16400 // RFC 4555
	Cookie2                         NotifyType = 16401 // RFC 4555
	NoNATsAllowed                   NotifyType = 16402 // RFC 4555
	AuthLifetime                    NotifyType = 16403 // RFC 4478
	MultipleAuthSupported           NotifyType = 16404 // RFC 4739
	AnotherAuthFollows              NotifyType = 16405 // RFC 4739
	RedirectSupported               NotifyType = 16406 // RFC 5685
	RedirectTo                      NotifyType = 16407 // RFC 5685
	RedirectedFrom                  NotifyType = 16408 // RFC 5685
	TicketLTOpaque                  NotifyType = 16409 // RFC 5723
	TicketRequest                   NotifyType = 16410 // RFC 5723
	TicketAck                       NotifyType = 16411 // RFC 5723
	TicketNack                      NotifyType = 16412 // RFC 5723
	TicketOpaque                    NotifyType = 16413 // RFC 5723
	LinkID                          NotifyType = 16414 // RFC 5739
	UseWESPMode                     NotifyType = 16415 // RFC 5840
	ROHCSupported                   NotifyType = 16416 // RFC 5857
	EAPOnlyAuthentication           NotifyType = 16417 // RFC 5998
	ChildlessIKEv2Supported         NotifyType = 16418 // RFC 6023
	QuickCrashDetection             NotifyType = 16419 // RFC 6290
	IKEv2MessageIDSyncSupported     NotifyType = 16420 // RFC 6311
	IPsecReplayCounterSyncSupported NotifyType = 16421 // RFC 6311
	IKEv2MessageIDSync              NotifyType = 16422 // RFC 6311
	IPsecReplayCounterSync          NotifyType = 16423 // RFC 6311
	SecurePasswordMethods           NotifyType = 16424 // RFC 6467
	PSKPersist                      NotifyType = 16425 // RFC 6631
	PSKConfirm                      NotifyType = 16426 // RFC 6631
	ERXSupported                    NotifyType = 16427 // RFC 6867
	IFOMCapability                  NotifyType = 16428 // 3GPP TS 24.303
	GroupSender                     NotifyType = 16429 // RFC 9838
	IKEv2FragmentationSupported     NotifyType = 16430 // RFC 7383
	SignatureHashAlgorithms         NotifyType = 16431 // RFC 7427
	CloneIKESASupported             NotifyType = 16432 // RFC 7791
	CloneIKESA                      NotifyType = 16433 // RFC 7791
	Puzzle                          NotifyType = 16434 // RFC 8019
	UsePPK                          NotifyType = 16435 // RFC 8784
	PPKIdentity                     NotifyType = 16436 // RFC 8784
	NoPPKAuth                       NotifyType = 16437 // RFC 8784
	IntermediateExchangeSupported   NotifyType = 16438 // RFC 9242
	IP4Allowed                      NotifyType = 16439 // RFC 8983
	IP6Allowed                      NotifyType = 16440 // RFC 8983
	AdditionalKeyExchange           NotifyType = 16441 // RFC 9370
	UseAGGFRAG                      NotifyType = 16442 // RFC 9347
	SupportedAuthMethods            NotifyType = 16443 // RFC 9593
	SAResourceInfo                  NotifyType = 16444 // RFC 9611
	UsePPKInt                       NotifyType = 16445 // RFC 9867
	PPKIdentityKey                  NotifyType = 16446 // RFC 9867
	IKESAInitFullTranscriptAuth     NotifyType = 16447 // draft-ietf-ipsecme-ikev2-downgrade-prevention
)

// firstStatus is the lowest status type.
const firstStatus NotifyType = 16384

// IsError reports whether the type is an error. An unknown error in a response means
// that the request failed; an unknown status is ignored.
func (t NotifyType) IsError() bool { return t < firstStatus }
