//! The classic BPF program by which the kernel hands each datagram to its worker's socket.
//!
//! It does what [`Cipher::route`] does, instruction by instruction: the connection ID of a short
//! header, or of a long one with our length, deciphered; the worker when the check is right,
//! [`FALL_BACK`] otherwise, from which the kernel goes on to its hash of the addresses. Needs no
//! privilege. Without it everything works too, by forwarding (`mailbox.rs`).

use crate::cid::{Cipher, LENGTH, Round, SHIFTS};

/// One instruction of classic BPF, as the kernel's `struct sock_filter` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    pub(crate) code: u16,
    pub(crate) jump_true: u8,
    pub(crate) jump_false: u8,
    pub(crate) operand: u32,
}

/// No socket has this index, so that the kernel chooses by hash.
pub(crate) const FALL_BACK: u32 = u32::MAX;

/// The program for workers of this `generation`; the kernel itself checks the worker's index.
pub(crate) fn program(cipher: &Cipher, generation: u8) -> Vec<Instruction> {
    let mut program = load_halves().to_vec();
    for (index, round) in cipher.rounds.iter().enumerate().rev() {
        program.extend(undo(*round, index % 2 == 1));
    }
    program.extend(judge(generation));
    program
}

/// Loads the connection ID into the scratch memory, or falls back.
///
/// A load beyond the end would end the program with worker 0, hence the checks of the length.
fn load_halves() -> [Instruction; 20] {
    let length = LENGTH as u32;
    let (short, long) = (1, 6);
    [
        plain(LOAD_LENGTH, 0),
        jump(IF_AT_LEAST, short + length, 1, 0),
        plain(RETURN, FALL_BACK),
        plain(LOAD_BYTE, 0),
        jump(IF_ANY_BIT, 0x80, 5, 0),
        // A short header.
        plain(LOAD_WORD, short),
        plain(STORE, LEFT),
        plain(LOAD_WORD, short + 4),
        plain(STORE, RIGHT),
        plain(JUMP, 10),
        // A long one.
        plain(LOAD_LENGTH, 0),
        jump(IF_AT_LEAST, long + length, 1, 0),
        plain(RETURN, FALL_BACK),
        plain(LOAD_BYTE, 5),
        jump(IF_EQUAL, length, 1, 0),
        plain(RETURN, FALL_BACK),
        plain(LOAD_WORD, long),
        plain(STORE, LEFT),
        plain(LOAD_WORD, long + 4),
        plain(STORE, RIGHT),
    ]
}

/// Undoes one round: one half becomes itself xor the mix of the other.
///
/// The cipher swaps the halves in each round; here they stay where they are and swap their roles,
/// so that `odd` rounds change the right one.
fn undo(round: Round, odd: bool) -> [Instruction; 14] {
    let (mixed, changed) = if odd { (LEFT, RIGHT) } else { (RIGHT, LEFT) };
    [
        plain(RECALL, mixed),
        plain(XOR, round.mask),
        plain(MULTIPLY, round.first),
        plain(TO_X, 0),
        plain(SHIFT_RIGHT, SHIFTS.0),
        plain(XOR_X, 0),
        plain(MULTIPLY, round.second),
        plain(TO_X, 0),
        plain(SHIFT_RIGHT, SHIFTS.1),
        plain(XOR_X, 0),
        plain(TO_X, 0),
        plain(RECALL, changed),
        plain(XOR_X, 0),
        plain(STORE, changed),
    ]
}

/// Returns the worker, if check and generation are right.
fn judge(generation: u8) -> [Instruction; 10] {
    [
        plain(RECALL, RIGHT),
        jump(IF_ANY_BIT, 0xffff, 4, 0),
        plain(SHIFT_RIGHT, 16),
        plain(TO_X, 0),
        plain(SHIFT_RIGHT, 8),
        jump(IF_EQUAL, u32::from(generation), 1, 0),
        plain(RETURN, FALL_BACK),
        plain(FROM_X, 0),
        plain(AND, 0xff),
        plain(RETURN_ACCUMULATOR, 0),
    ]
}

const fn plain(code: u16, operand: u32) -> Instruction {
    jump(code, operand, 0, 0)
}

const fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

/// Cells of the scratch memory.
const LEFT: u32 = 0;
const RIGHT: u32 = 1;

/// Opcodes: class, size or operation, and source, as `linux/bpf_common.h` composes them.
const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const LOAD_LENGTH: u16 = 0x80;
const RECALL: u16 = 0x60;
const STORE: u16 = 0x02;
const MULTIPLY: u16 = 0x24;
const AND: u16 = 0x54;
const SHIFT_RIGHT: u16 = 0x74;
const XOR: u16 = 0xa4;
const XOR_X: u16 = 0xac;
const JUMP: u16 = 0x05;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;
const RETURN_ACCUMULATOR: u16 = 0x16;
const TO_X: u16 = 0x07;
const FROM_X: u16 = 0x87;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;
    use crate::cid::Route;

    /// Runs a program on a packet as the kernel would.
    fn interpret(program: &[Instruction], packet: &[u8]) -> u32 {
        let (mut accumulator, mut x, mut memory) = (0_u32, 0_u32, [0_u32; 16]);
        let mut at = 0;
        loop {
            let Instruction { code, jump_true, jump_false, operand } = program[at];
            let index = operand as usize;
            at += 1;
            let mut branch = |taken| at += usize::from(if taken { jump_true } else { jump_false });
            match code {
                LOAD_WORD => match packet.get(index..index + 4) {
                    Some(word) => accumulator = u32::from_be_bytes(word.try_into().unwrap()),
                    None => return 0,
                },
                LOAD_BYTE => match packet.get(index) {
                    Some(byte) => accumulator = u32::from(*byte),
                    None => return 0,
                },
                LOAD_LENGTH => accumulator = packet.len() as u32,
                RECALL => accumulator = memory[index],
                STORE => memory[index] = accumulator,
                MULTIPLY => accumulator = accumulator.wrapping_mul(operand),
                AND => accumulator &= operand,
                SHIFT_RIGHT => accumulator >>= operand,
                XOR => accumulator ^= operand,
                XOR_X => accumulator ^= x,
                JUMP => at += index,
                IF_EQUAL => branch(accumulator == operand),
                IF_AT_LEAST => branch(accumulator >= operand),
                IF_ANY_BIT => branch(accumulator & operand != 0),
                RETURN => return operand,
                RETURN_ACCUMULATOR => return accumulator,
                TO_X => x = accumulator,
                FROM_X => accumulator = x,
                other => panic!("{other:#x} is no instruction that we use"),
            }
        }
    }

    /// What the kernel should be told for a packet, by the function that workers use.
    fn expected(cipher: &Cipher, generation: u8, packet: &[u8]) -> u32 {
        match cipher.route(packet) {
            Some(route) if route.generation == generation => u32::from(route.worker),
            _ => FALL_BACK,
        }
    }

    proptest! {
        #[test]
        fn the_program_agrees_with_the_workers_on_any_packet(
            seed: u64,
            generation in 0_u8..2,
            packet in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let cipher = Cipher::new(&mut StdRng::seed_from_u64(seed));
            let program = program(&cipher, generation);
            prop_assert_eq!(
                interpret(&program, &packet),
                expected(&cipher, generation, &packet)
            );
        }

        #[test]
        fn the_program_finds_the_worker_of_each_of_our_ids(
            seed: u64,
            nonce: u32,
            generation: u8,
            worker: u8,
            is_long: bool,
            cut in 0_usize..3,
        ) {
            let cipher = Cipher::new(&mut StdRng::seed_from_u64(seed));
            let cid = cipher.seal(nonce, Route { generation, worker });
            let header: &[u8] = if is_long { &[0xe3, 0, 0, 0, 1, 8] } else { &[0x43] };
            let packet = [header, &cid, b"x"].concat();
            let program = program(&cipher, generation);
            prop_assert_eq!(interpret(&program, &packet), u32::from(worker));

            let cut = &packet[..packet.len() - cut];
            prop_assert_eq!(interpret(&program, cut), expected(&cipher, generation, cut));
            let successor = super::program(&cipher, generation.wrapping_add(1));
            prop_assert_eq!(interpret(&successor, &packet), FALL_BACK);
        }
    }
}
