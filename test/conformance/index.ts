/** The door `holdfast/testing`: conformance suites for those who write a host or another implementation of a contract. */
export { hostSuite } from './host.ts';
export type { HostUnderTest, MakeHost } from './host-under-test.ts';
export { type VolumeUnderTest, volumeSuite } from './volume.ts';
export { type MakeTransport, type TransportUnderTest, transportSuite } from './transport.ts';
