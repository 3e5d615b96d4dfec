package ikewire

// CheckData reads the data of every notify type that this package knows the form of and
// reports what the method for it would. Data of other types is not looked at.
func (n Notify) CheckData() error {
	var err error
	switch n.Type {
	case UnsupportedCriticalPayload:
		_, err = n.CriticalPayload()
	case InvalidKEPayload:
		_, err = n.KeyExchangeMethod()
	case InvalidSPI:
		_, err = n.UnknownSPI()
	case InvalidMessageID:
		_, err = n.UnknownMessageID()
	case Cookie:
		_, err = n.Cookie()
	case Cookie2:
		_, err = n.Cookie2()
	case NATDetectionSourceIP, NATDetectionDestinationIP:
		_, err = n.NATHash()
	case RekeySA, ChildSANotFound:
		_, _, err = n.ChildSPI()
	case SetWindowSize:
		_, err = n.WindowSize()
	case IPCompSupported:
		_, _, err = n.IPComp()
	case AdditionalIP4Address, AdditionalIP6Address:
		_, err = n.AdditionalAddress()
	case AuthLifetime:
		_, err = n.AuthLifetime()
	case RedirectTo, RedirectedFrom, RedirectSupported:
		err = n.checkRedirect()
	case QuickCrashDetection:
		_, err = n.QCDToken()
	case IKEv2MessageIDSync:
		_, err = n.MessageIDSync()
	case IPsecReplayCounterSync:
		_, err = n.ReplayCounterSync()
	case SignatureHashAlgorithms:
		_, err = n.HashAlgorithms()
	case SupportedAuthMethods:
		_, err = n.AuthAnnouncements()
	case Puzzle:
		_, err = n.PuzzleTask()
	case PPKIdentity:
		_, err = n.PPKIdentity()
	case PPKIdentityKey:
		_, err = n.PPKIdentityKey()
	case NoPPKAuth:
		_, err = n.NoPPKAuth()
	case AdditionalKeyExchange:
		_, err = n.KeyExchangeLink()
	case UseAGGFRAG:
		_, err = n.AGGFRAGFlags()
	default:
		if n.Type.flag() && len(n.Data) > 0 {
			err = n.badLength()
		}
	}
	return err
}

// flag reports whether the type says all by being there: its data is empty.
func (t NotifyType) flag() bool {
	switch t {
	case InitialContact, AdditionalTSPossible, UseTransportMode, HTTPCertLookupSupported,
		ESPTFCPaddingNotSupported, NonFirstFragmentsAlso, NoAdditionalAddresses, UpdateSAAddresses,
		MultipleAuthSupported, AnotherAuthFollows, EAPOnlyAuthentication, ChildlessIKEv2Supported,
		IKEv2MessageIDSyncSupported, IPsecReplayCounterSyncSupported, IKEv2FragmentationSupported,
		CloneIKESASupported, CloneIKESA, UsePPK, IntermediateExchangeSupported, IP4Allowed, IP6Allowed, UsePPKInt:
		return true
	}
	return false
}
