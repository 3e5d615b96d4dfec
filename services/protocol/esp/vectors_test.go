package esp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"
)

// vector is one published ESP packet with its plaintext, trailer included.
type vector struct {
	name, suite               string
	keymat, plaintext, packet string
	seq                       uint64
	esn                       bool
	want                      error // of Open: most vectors carry next header 1, which is not tunnel mode's
}

// gcmVectors are the AES-GCM cases of draft-mcgrew-gcm-test-01, section 4, by their
// number there. Number 4 has the reserved SPI 0.
func gcmVectors() []vector {
	return []vector{
		{
			name: "1", suite: "aes128gcm16", seq: 0x8765432100000000, esn: true, want: ErrNextHeader,
			keymat: `4c80cdefbb5d10da906ac73c3613a634 2e443b68`,
			plaintext: `45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
				00000000045f736970045f756470037369700963796265726369747902646b00
				0021000101020201`,
			packet: `00004321000000004956ed7e3b244cfe
				fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34
				cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce
				61bc17d768fd9732459018148f6cbe722fd04796562dfdb4`,
		},
		{
			name: "2", suite: "aes128gcm16", seq: 0xa, want: ErrNextHeader,
			keymat: `feffe9928665731c6d6a8f9467308308 cafebabe`,
			plaintext: `4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100
				0001000000000000037369700963796265726369747902646b00000100010001`,
			packet: `0000a5f80000000afacedbaddecaf888
				deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c
				3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd1
				83b70d3aa8bc6ee4c309e9d85a41ad4a`,
		},
		{
			name: "3", suite: "aes256gcm16", seq: 2, want: ErrNextHeader,
			keymat: `abbccddef00112233445566778899aababbccddef00112233445566778899aab 11223344`,
			plaintext: `4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
				7002400020bf0000020405b40101040201020201`,
			packet: `4a2cbfe3000000020102030405060708
				ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763
				748a637985771d347f0545659f14e99def842d8eb335f4eecfdbf831824b4c49
				15956c96`,
		},
		{
			name: "5", suite: "aes128gcm16", seq: 0x1010101010101010, esn: true, want: ErrNextHeader,
			keymat: `3de09874b388e6491988d0c3607eae1f 57690e43`,
			plaintext: `4500003c99c300008001cb7c40679318010101010800085c0200430061626364
				65666768696a6b6c6d6e6f707172737475767761626364656667686901020201`,
			packet: `42f67e3f101010104e280000a2fca1a3
				fba2caa4853cf9f0f22cb10d86dd83b0fec75691cf1a04b00d1138ec9c357917
				65acbd8701ad79845bf9fe3fba487bc91755e6662b4c8d0d1f5e22739530320a
				e0d731cc978ecafaeae88f00e80d6e48`,
		},
		{
			name: "6", suite: "aes128gcm16", seq: 0x1010101010101010, esn: true, want: ErrNextHeader,
			keymat:    `3de09874b388e6491988d0c3607eae1f 57690e43`,
			plaintext: `4500001c42a200008001441f406793b6e00000020a00f5ff01020201`,
			packet: `42f67e3f101010104e280000a2fca1a3
				fba2ca845e5df9f0f22c3e6e86dd831e1fc65792cd1af9130e1379ed369f071f
				35e034be95f112e4e7d05d35`,
		},
		{
			name: "7", suite: "aes192gcm16", seq: 0xa, want: ErrNextHeader,
			keymat: `feffe9928665731c6d6a8f9467308308feffe9928665731c cafebabe`,
			plaintext: `45000028a4ad4000400678800a01038f0a010612802306b8cb712602dd6bb03e
				501016d075680001`,
			packet: `0000a5f80000000afacedbaddecaf888
				a5b1f8066029aea40e598b8122de02420938b3ab33f828e687b8858b5bfbdbd0
				315b27452144cc7795457b9652037f5318027b5b4cd7a636`,
		},
		{
			name: "8", suite: "aes128gcm16", seq: 1, esn: true, want: ErrNextHeader,
			keymat: `abbccddef00112233445566778899aab decaf888`,
			plaintext: `4500004933ba00007f119106c3fb1d10c2b1d326c02831ce0035dd7b800302d5
				00004e20001e8c18d75b81dc91baa0476b91b924b280389d92c963bac046ec95
				9b6266c04722b14923010101`,
			packet: `0000010000000001cafedebaceface74
				18a6fd42f72cbf4ab2a2ea901f73d814e3e7f243d95412e1c349c1d2fbec168f
				9190feebaf2cb01984e65863965d7472b79da345e0e780191f0d2f0e0f496c22
				6f2127b27db35724e7845d68651f57e65f354f75ff17015769623436`,
		},
		{
			name: "9", suite: "aes256gcm16", seq: 0x156f3126dd0db99b, esn: true, want: ErrNextHeader,
			keymat: `abbccddef00112233445566778899aababbccddef00112233445566778899aab 73616c74`,
			plaintext: `45080028732c00004006e9f90a0106120a01038f06b88023dd6bafbecb712602
				50101f646d540001`,
			packet: `17405e67dd0db99b616e640169766563
				f2d69ecdbd5a0d5b8d5ef38bad4da58d1f278fde98ef67549d524a3018d9a57f
				f4d3a31ce673119e451626c2415771e3b7eebca614c89b35`,
		},
		{
			name: "10", suite: "aes128gcm16", seq: 0x1010101010101010, esn: true, want: ErrNextHeader,
			keymat: `3de09874b388e6491988d0c3607eae1f 57690e43`,
			plaintext: `45000049333e00007f119182c3fb1d10c2b1d326c02831ce0035cb458003025b
				000001e0001e8c18d65759d52284a0352c71475c8880391c764d6e5ee0496b32
				5ae270c03899493915010101`,
			packet: `42f67e3f101010104e280000a2fca1a3
				fba2cad12fc1f9f00d3cebf305410db83d7784b607323d220f24b0a97d541828
				00cadb0f68d99ef0e0c0c89ae9bea8884e52d65bc1afd0740f742444747b5b39
				ab533163aad4550ee5160975cdb608c5769189609763b8e18caa81e2`,
		},
		{
			name: "11", suite: "aes256gcm16", seq: 0x156f3126dd0db99b, esn: true, want: ErrNextHeader,
			keymat: `abbccddef00112233445566778899aababbccddef00112233445566778899aab 73616c74`,
			plaintext: `636973636f0172756c657301746865016e6574776501646566696e6501746865
				746563686e6f6c6f67696573017468617477696c6c01646566696e65746f6d6f
				72726f7701020201`,
			packet: `17405e67dd0db99b616e640169766563
				d4b7ed86a1777f2ea13d6973d324c69e7b43f826fb56831226508bebd2dceb18
				d0a6df10e5487df074113e14c641024e3e6773d91a62ee429b043a10e3efe6b0
				12a49363412364f8c0cac587f249e56b11e24f30e44ccc76`,
		},
		{
			name: "12", suite: "aes128gcm16", seq: 0xffffffff, want: ErrNextHeader,
			keymat:    `7d773d00c144c525ac619d18c84a3f47 d9664267`,
			plaintext: `01020201`,
			packet: `335467aeffffffff43457e9182443bc6
				437f866bcb3f699fe9b0822bac961c4504bef270`,
		},
		{
			name: "13", suite: "aes128gcm16", seq: 1, esn: true, want: ErrNextHeader,
			keymat:    `abbccddef00112233445566778899aab decaf888`,
			plaintext: `746f016265016f72016e6f7401746f0162650001`,
			packet: `0000010000000001cafedebaceface74
				29c9fc69a197d038ccdd14e2ddfcaa0543332164412503524303ed3c6c5f2838
				43af8c3e`,
		},
		{
			name: "14", suite: "aes256gcm16", seq: 0xffffffffffffffff, esn: true, want: ErrNextHeader,
			keymat: `6c6567616c697a656d6172696a75616e61616e64646f69746265666f72656961 7475726e`,
			plaintext: `45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364
				65666768696a6b6c6d6e6f707172737401020201`,
			packet: `796b6963ffffffff333021696765746d
				f97ab2aa356d8edce17644ac8c78e25dd24dedbb29ebf1b64a274b39b49c3a86
				4cd3d78ca4ae68a32b42458fb57dbe821dcc63b9d0937ba2945f669368661a32
				9fb4c053`,
		},
	}
}

// chachaVector is the ESP packet of RFC 7634, appendix A.
func chachaVector() vector {
	return vector{
		name: "RFC 7634 A", suite: "chacha20poly1305", seq: 5,
		keymat: `808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3`,
		plaintext: `45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
			0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
			2425262728292a2b2c2d2e2f303132333435363701020204`,
		packet: `01020304000000051011121314151617
			24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c6
			14ee8099d52844eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3
			cbec163fac469b502773f6fb94e664da9165b82829f641e0
			76aaa8266b7fb0f7b11b369907e1ad43`,
	}
}

// gmacVector is the ESP packet of draft-mcgrew-gcm-test-01, section 5. Sequence number 7.
func gmacVector() vector {
	return vector{
		name: "GMAC", suite: "aes128gmac", seq: 7, want: ErrNextHeader,
		keymat: `4c80cdefbb5d10da906ac73c3613a634 22433c64`,
		plaintext: `45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364
			65666768696a6b6c6d6e6f707172737401020201`,
		packet: `00004321000000070000000000000000
			45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364
			65666768696a6b6c6d6e6f707172737401020201
			f2a9a836e155106aa8dcd618e4099aaa`,
	}
}

func vectors() []vector { return append(gcmVectors(), chachaVector(), gmacVector()) }

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (v vector) config(t testing.TB) Config {
	t.Helper()
	suite := parseSuite(t, v.suite)
	return Config{
		SPI: binary.BigEndian.Uint32(unhex(t, v.packet)), Encryption: suite.Encryption, Integrity: suite.Integrity,
		Keymat: unhex(t, v.keymat), ESN: v.esn,
	}
}

// opener returns an Opener that has just accepted the sequence number before v's.
func (v vector) opener(t testing.TB) *Opener {
	t.Helper()
	o, err := NewOpener(v.config(t))
	if err != nil {
		t.Fatal(err)
	}
	if v.seq > 1 {
		if err := o.window.Accept(v.seq - 1); err != nil {
			t.Fatal(err)
		}
	}
	return o
}

// The vectors choose their own IVs, which Seal never does, so that everything but the
// IV is made by the Sealer's parts and compared with the published packet.
func TestVectorsSeal(t *testing.T) {
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			s, err := NewSealer(v.config(t))
			if err != nil {
				t.Fatal(err)
			}
			plaintext, want := unhex(t, v.plaintext), unhex(t, v.packet)
			payload, nextHeader, err := parseTrailer(plaintext)
			if err != nil {
				t.Fatal(err)
			}
			s.seq = v.seq
			got := make([]byte, s.SealedLen(len(payload)))
			place(got[s.header:], payload)
			putTrailer(got[s.header+len(payload):len(got)-s.icv], nextHeader)
			s.putHeader(got)
			copy(got[fixedLen:s.header], want[fixedLen:])
			s.protect(got, s.body(got), s.seq)
			if !bytes.Equal(got, want) {
				t.Errorf("sealed\n%x, want\n%x", got, want)
			}
		})
	}
}

func TestVectorsOpen(t *testing.T) {
	for _, v := range vectors() {
		t.Run(v.name, func(t *testing.T) {
			o := v.opener(t)
			body, err := o.verify(unhex(t, v.packet), v.seq)
			if err != nil {
				t.Fatal(err)
			}
			if want := unhex(t, v.plaintext); !bytes.Equal(body, want) {
				t.Errorf("opened\n%x, want\n%x", body, want)
			}
			got, err := o.Open(unhex(t, v.packet))
			if err != v.want {
				t.Fatalf("Open: %v, want %v", err, v.want)
			}
			if o.Top() != v.seq {
				t.Errorf("window's top is %#x, want %#x", o.Top(), v.seq)
			}
			if err == nil && (got.Seq != v.seq || !bytes.Equal(got.Payload, unhex(t, v.plaintext)[:len(got.Payload)])) {
				t.Errorf("Open: seq %#x, % x", got.Seq, got.Payload)
			}
			if _, err := o.Open(unhex(t, v.packet)); err != ErrReplayed {
				t.Errorf("second Open: %v, want %v", err, ErrReplayed)
			}
		})
	}
}
