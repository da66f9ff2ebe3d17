from tests.fault.test_broker_faults import *

async def test_hole(tmp_path: Path) -> None:
    with ExitStack() as running:
        server = running.enter_context(EmbeddedServer(tmp_path / "broker"))
        leader = running.enter_context(core(server.url, tmp_path / "core.log"))
        running.enter_context(engine(server.url, tmp_path / "engine.log"))
        async with connect(server.url) as redis:
            known = await until_engines(redis)
            async with P.AsyncSession(server.url) as session:
                made = chain(3)
                await until_state(redis, made[1].id, "generating")
                leader.stop()
                await asyncio.sleep(0.005)
                synced = journal(server).stat().st_size
                await until_state(redis, made[1].id, "ready")
                lose_power(server, synced)
                await asyncio.to_thread(server.start)
                print(await redis.hgetall(KEYS.variable(made[1].id)))
                leader.wake()
                for variable in made:
                    await until_state(redis, variable.id, "ready")
            await check_left(redis, (session.id, [variable.id for variable in made]))
