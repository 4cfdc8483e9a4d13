-- Pktgen-DPDK: @SUMMARY@
--
-- Written by `selvedge pktgen export`, with frames.pcap beside it: @FRAMES@ frames, of which each is what
-- `selvedge pktgen` would send, in the same order (the first ones of the same seed). To send from port 0:
--
--   LINK_GBPS=25 pktgen -l 0-2 -n 4 -- -P -m "1.0" -s 0:frames.pcap -f pktgen-dpdk.lua
--
-- What this generator cannot express:
--   * the frames are sent over and over: sequence numbers repeat, and there are no times, so losses are the difference
--     of the ports' counters, and there is no latency
--   * it knows rates as a share of the line's: say how fast the port is (LINK_GBPS)
@LIMITS@
package.path = package.path .. ";?.lua;test/?.lua;app/?.lua;lib/lua/?.lua"
require "Pktgen"

local port = "0"
local gbps = tonumber(os.getenv("LINK_GBPS") or "10")
local pps = @PPS@ -- nil: as fast as it goes
local bytes = @BYTES@ -- of a frame, on average, without its check sequence
local seconds = @SECONDS@

-- On the wire a frame has 4 bytes of check sequence, 8 of preamble and a gap of 12.
local function percent()
	if pps == nil then
		return 100
	end
	return math.min(100, pps * (bytes + 24) * 8 / (gbps * 1e9) * 100)
end

pktgen.stop(port)
pktgen.set(port, "rate", percent())
pktgen.set(port, "count", 0)
pktgen.pcap(port, "on")
pktgen.start(port)
pktgen.delay(seconds * 1000)
pktgen.stop(port)
pktgen.delay(1000)
for number, stats in pairs(pktgen.portStats("all", "port")) do
	if type(stats) == "table" then
		print(string.format("port %s: sent %d, received %d", number, stats.opackets, stats.ipackets))
	end
end
