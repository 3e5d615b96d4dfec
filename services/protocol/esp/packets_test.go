package esp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
)

// packetVector is a published packet that a whole SA opens; transport tells the mode.
type packetVector struct {
	vector
	transport bool
}

// rfc3602Key follows the RFC's encryption key: the RFC's packets have no ICV, and encryption without
// integrity does not exist here.
const rfc3602Key = `000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f`

// rfc3602Vectors are the sample packets of RFC 3602, section 4, by their case, without ICV.
func rfc3602Vectors() []packetVector {
	return []packetVector{
		{transport: true, vector: vector{
			name: "RFC 3602 case 5", suite: "aes128-sha256", seq: 1,
			keymat: `90d382b410eeba7ad938c46cec1a82bf` + rfc3602Key,
			plaintext: `08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f1011121314151617
				18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637
				0102030405060708090a0b0c0d0e0e01`,
			packet: `0000432100000001e96e8c08ab465763fd098d45dd3ff893
				f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856
				a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a
				a269add047ad2d5913ac19b7cfbad4a6`,
		}},
		{transport: true, vector: vector{
			name: "RFC 3602 case 6", suite: "aes128-sha256", seq: 8,
			keymat:    `90d382b410eeba7ad938c46cec1a82bf` + rfc3602Key,
			plaintext: `0800b5e8a80a0500a69c083d0b660e0077777777777777777777777701020201`,
			packet: `000043210000000869d08df7d203329db093fc4924e5bd80
				f51995881ec4e0c4488987ce742e8109689bb379d2d750c0d915dca346a89f75`,
		}},
		{vector: vector{
			name: "RFC 3602 case 7", suite: "aes128-sha256", seq: 2,
			keymat: `0123456789abcdef0123456789abcdef` + rfc3602Key,
			plaintext: `45000054090400004001f988c0a87b03c0a87bc808009f76a90a0100b49c083d
				02a2040008090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
				2425262728292a2b2c2d2e2f30313233343536370102030405060708090a0a04`,
			packet: `0000876500000002f4e765244f6407adf13dc1380f673f37
				773b5241a4c449225e4f3ce5ed611b0c237ca96cf74a93013c1b0ea1a0cf70f8
				e4ecaec78ac53aad7a0f022b859243c647752e94a859352b8a4d4d2decd136e5
				c177f132ad3fbfb2201ac9904c74ee0a109e0ca1e4dfe9d5a100b842f1c22f0d`,
		}},
		{vector: vector{
			name: "RFC 3602 case 8", suite: "aes128-sha256", seq: 5,
			keymat: `0123456789abcdef0123456789abcdef` + rfc3602Key,
			plaintext: `45000044090c00004001f990c0a87b03c0a87bc80800d63caa0a0200c69c083d
				a3de0300ffffffffffffffffffffffffffffffffffffffffffffffffffffffff
				ffffffff0102030405060708090a0a04`,
			packet: `000087650000000585d47224b5f3dd5d2101d4ea8dffab22
				15b92683819596a8047232cc00f7048fe45318e11f8a0f62ede3c3fc61203bb5
				0f980a08c9843fd3a1b06d5c07ff9639b7eb7dfb3512e5de435e7207ed971ef3
				d2726d9b5ef6affc6d17a0decbb13892`,
		}},
	}
}

// draftVectors are the packets of draft-mcgrew-gcm-test-01, section 4, that follow its GMAC case.
func draftVectors() []packetVector {
	return []packetVector{
		{transport: true, vector: vector{
			name: "GCM 16", suite: "aes128gcm16", seq: 0x1010101010101010, esn: true,
			keymat: `3de09874b388e6491988d0c3607eae1f 57690e43`,
			plaintext: `45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364
				65666768696a6b6c6d6e6f707172737401020201`,
			packet: `3f7ef642101010104e280000a2fca1a3
				fba2caa8c6c5f9f0f22ca54a061210ad3f6e5791cf1aca210d117cec9c357917
				65acbd8701ad79845bf9fe3fba487bc96321930684eecadb56912546e7a95c97
				40d7cb05`,
		}},
		{transport: true, vector: vector{
			name: "GCM 17", suite: "aes128gcm16", seq: 0x8765432100000007, esn: true,
			keymat:    `4c80cdefbb5d10da906ac73c3613a634 22433c64`,
			plaintext: `0800c6cd020007006162636465666768696a6b6c6d6e6f707172737401020201`,
			packet: `00004321000000074855ec7d3a234bfd
				74752e8aeb5d873cd7c0f4acc36c4bff84b7d7b98f0ca8b6acda6894bc619069
				ef9cbc28fe1b56a7c4e0d58c86cd2bc0`,
		}},
	}
}

// shortened returns a packet's counterparts with the shorter ICVs of RFC 4106 section 6: a GCM tag's beginning is
// the tag (NIST SP 800-38D section 7.1).
func shortened(v packetVector) []packetVector {
	packet := strings.Join(strings.Fields(v.packet), "")
	var short []packetVector
	for _, icv := range []struct {
		suite string
		bytes int
	}{{"gcm12", 12}, {"gcm8", 8}} {
		s := v
		s.name, s.suite = v.name+" "+icv.suite, strings.Replace(v.suite, "gcm16", icv.suite, 1)
		s.packet = packet[:len(packet)-2*(16-icv.bytes)]
		short = append(short, s)
	}
	return short
}

// packetVectors are all published packets, each in the mode in which an SA takes it: most carry next header 1,
// which in tunnel mode is nothing.
func packetVectors(t *testing.T) []packetVector {
	t.Helper()
	var all []packetVector
	for _, v := range rfc3602Vectors() {
		packet, key := unhex(t, v.packet), unhex(t, rfc3602Key)
		mac := hmac.New(sha256.New, key)
		mac.Write(packet)
		v.packet += hex.EncodeToString(mac.Sum(nil)[:16])
		all = append(all, v)
	}
	gcm := draftVectors()
	for _, v := range gcmVectors() {
		gcm = append(gcm, packetVector{vector: v, transport: true})
	}
	for _, v := range gcm {
		all = append(append(all, v), shortened(v)...)
	}
	return append(all, packetVector{vector: chachaVector()}, packetVector{vector: gmacVector(), transport: true})
}

func TestPublishedPackets(t *testing.T) {
	all := packetVectors(t)
	for _, v := range all {
		t.Run(v.name, func(t *testing.T) {
			c := v.config(t)
			c.Transport = v.transport
			payload, nextHeader, err := parseTrailer(unhex(t, v.plaintext))
			if err != nil {
				t.Fatal(err)
			}
			checkSealedAs(t, c, v.vector, payload, nextHeader)
			o, err := NewOpener(c)
			if err != nil {
				t.Fatal(err)
			}
			if v.seq > 1 {
				if err := o.window.Accept(v.seq - 1); err != nil {
					t.Fatal(err)
				}
			}
			packet := unhex(t, v.packet)
			for bit := range 8 * len(packet) {
				bad := bytes.Clone(packet)
				bad[bit/8] ^= 1 << (bit % 8)
				if got, err := o.Open(bad); err == nil {
					t.Fatalf("bit %d flipped: %+v", bit, got)
				}
			}
			got, err := o.Open(packet)
			if err != nil || got.Seq != v.seq || got.NextHeader != nextHeader || !bytes.Equal(got.Payload, payload) {
				t.Errorf("opened seq %#x, next header %d, %x, %v; want %#x, %d, %x",
					got.Seq, got.NextHeader, got.Payload, err, v.seq, nextHeader, payload)
			}
		})
	}
	if len(all) != 51 {
		t.Errorf("%d packets, want 51", len(all))
	}
}

// checkSealedAs makes a Sealer's packet with the vector's number and IV, which a Sealer chooses otherwise.
func checkSealedAs(t *testing.T, c Config, v vector, payload []byte, nextHeader uint8) {
	t.Helper()
	s, err := NewSealer(c)
	if err != nil {
		t.Fatal(err)
	}
	want := unhex(t, v.packet)
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
}
