//! H.264 constrained baseline with the two simplest macroblocks of the standard (ITU-T H.264, clause 7.3): I_PCM,
//! which carries raw samples, and P_Skip, which repeats the frame before. Nothing is estimated or transformed, so
//! every decoder must show exactly the drawn pixels. Clause numbers below are of that document.

use super::SampleSpec;
use super::picture::Scene;

/// What a container needs to describe the stream.
pub(super) struct Track {
    pub sps: Vec<u8>,
    pub pps: Vec<u8>,
}

/// One access unit: a single slice, as a NAL unit without start code or length.
pub(super) struct Frame {
    pub nal: Vec<u8>,
    pub key: bool,
}

pub(super) fn encode(spec: &SampleSpec, scene: &Scene) -> (Track, Vec<Frame>) {
    let track = Track {
        sps: sequence_parameters(spec),
        pps: picture_parameters(),
    };
    let key_every = spec.fps * KEY_SECONDS;
    let frames = (0..spec.frames())
        .map(|at| {
            let since_key = at % key_every;
            Frame {
                nal: slice(scene, at, since_key, at / key_every),
                key: since_key == 0,
            }
        })
        .collect();
    (track, frames)
}

/// A raw key frame is large: one every two seconds keeps seeking and file size in balance.
const KEY_SECONDS: u32 = 2;
/// log2_max_frame_num: 60 fps for two seconds stay below 2^8.
const FRAME_NUM_BITS: u32 = 8;

const NAL_SLICE: u8 = 1;
const NAL_IDR: u8 = 5;
const NAL_SPS: u8 = 7;
const NAL_PPS: u8 = 8;

const SLICE_P_ONLY: u32 = 5;
const SLICE_I_ONLY: u32 = 7;
/// Table 7-11.
const MB_I_PCM: u32 = 25;
/// Intra types follow the five P types when they are in a P slice (table 7-13).
const INTRA_IN_P: u32 = 5;

/// 7.3.2.1.1 and E.1.1.
fn sequence_parameters(spec: &SampleSpec) -> Vec<u8> {
    let (across, down) = (spec.width.div_ceil(16), spec.height.div_ceil(16));
    let mut b = Bits::default();
    b.u(8, 66); // profile_idc: baseline
    b.u(8, 0b1100_0000); // constraint_set0 and 1: constrained baseline
    b.u(8, level(across * down, spec.fps));
    b.ue(0); // seq_parameter_set_id
    b.ue(FRAME_NUM_BITS - 4);
    b.ue(2); // pic_order_cnt_type: shown in the order sent
    b.ue(1); // max_num_ref_frames
    b.u(1, 0); // gaps_in_frame_num_value_allowed_flag
    b.ue(across - 1);
    b.ue(down - 1);
    b.u(1, 1); // frame_mbs_only_flag
    b.u(1, 1); // direct_8x8_inference_flag
    let (spare_x, spare_y) = (across * 16 - spec.width, down * 16 - spec.height);
    if spare_x + spare_y > 0 {
        b.u(1, 1);
        b.ue(0);
        b.ue(spare_x / 2); // in chroma samples
        b.ue(0);
        b.ue(spare_y / 2);
    } else {
        b.u(1, 0);
    }
    b.u(1, 1); // vui_parameters_present_flag
    b.u(1, 0); // aspect ratio: not said
    b.u(1, 0); // overscan: not said
    b.u(1, 1); // video_signal_type_present_flag
    b.u(3, 5); // video_format: unspecified
    b.u(1, 0); // limited range
    b.u(1, 1); // colour_description_present_flag
    b.u(8, 1); // BT.709 primaries,
    b.u(8, 1); // transfer
    b.u(8, 1); // and matrix
    b.u(1, 0); // chroma location: not said
    b.u(1, 1); // timing_info_present_flag
    b.u(32, 1); // num_units_in_tick
    b.u(32, spec.fps * 2); // time_scale: a tick is a field
    b.u(1, 1); // fixed_frame_rate_flag
    b.u(1, 0); // NAL HRD
    b.u(1, 0); // VCL HRD
    b.u(1, 0); // pic_struct_present_flag
    b.u(1, 1); // bitstream_restriction_flag
    b.u(1, 1); // motion_vectors_over_pic_boundaries_flag
    b.ue(0); // max_bytes_per_pic_denom: no limit said
    b.ue(0); // max_bits_per_mb_denom: no limit said
    b.ue(0); // log2_max_mv_length_horizontal
    b.ue(0); // log2_max_mv_length_vertical
    b.ue(0); // max_num_reorder_frames
    b.ue(1); // max_dec_frame_buffering
    b.nal(3, NAL_SPS)
}

/// 7.3.2.2.
fn picture_parameters() -> Vec<u8> {
    let mut b = Bits::default();
    b.ue(0); // pic_parameter_set_id
    b.ue(0); // seq_parameter_set_id
    b.u(1, 0); // entropy_coding_mode_flag: CAVLC
    b.u(1, 0); // bottom_field_pic_order_in_frame_present_flag
    b.ue(0); // num_slice_groups_minus1
    b.ue(0); // num_ref_idx_l0_default_active_minus1
    b.ue(0); // num_ref_idx_l1_default_active_minus1
    b.u(1, 0); // weighted_pred_flag
    b.u(2, 0); // weighted_bipred_idc
    b.ue(0); // pic_init_qp_minus26, se(0)
    b.ue(0); // pic_init_qs_minus26, se(0)
    b.ue(0); // chroma_qp_index_offset, se(0)
    b.u(1, 1); // deblocking_filter_control_present_flag
    b.u(1, 0); // constrained_intra_pred_flag
    b.u(1, 0); // redundant_pic_cnt_present_flag
    b.nal(3, NAL_PPS)
}

/// 7.3.3 and 7.3.4: a whole frame in one slice.
fn slice(scene: &Scene, frame: u32, since_key: u32, key_count: u32) -> Vec<u8> {
    let key = since_key == 0;
    let mut b = Bits::default();
    b.ue(0); // first_mb_in_slice
    b.ue(if key { SLICE_I_ONLY } else { SLICE_P_ONLY });
    b.ue(0); // pic_parameter_set_id
    b.u(FRAME_NUM_BITS, since_key); // frame_num
    if key {
        b.ue(key_count & 1); // idr_pic_id: neighbours must differ
        b.u(1, 0); // no_output_of_prior_pics_flag
        b.u(1, 0); // long_term_reference_flag
    } else {
        b.u(1, 0); // num_ref_idx_active_override_flag
        b.u(1, 0); // ref_pic_list_modification_flag_l0
        b.u(1, 0); // adaptive_ref_pic_marking_mode_flag: sliding window
    }
    b.ue(0); // slice_qp_delta, se(0)
    b.ue(1); // disable_deblocking_filter_idc: raw samples need no smoothing

    let mut skipped = 0;
    for mb in 0..scene.macroblocks() {
        let (pixels, changed) = scene.macroblock(frame, mb);
        if key {
            b.ue(MB_I_PCM);
        } else if changed {
            b.ue(skipped); // mb_skip_run
            skipped = 0;
            b.ue(INTRA_IN_P + MB_I_PCM);
        } else {
            // Every vector in these frames is zero, so the predicted one of P_Skip is too (8.4.1.1).
            skipped += 1;
            continue;
        }
        b.align(0); // pcm_alignment_zero_bit
        b.bytes(&pixels);
    }
    if skipped > 0 {
        b.ue(skipped);
    }
    b.nal(3, if key { NAL_IDR } else { NAL_SLICE })
}

/// The lowest level_idc whose frame size and macroblock rate suffice (table A-1: level, MaxMBPS, MaxFS).
fn level(macroblocks: u32, fps: u32) -> u32 {
    const LEVELS: [(u32, u32, u32); 9] = [
        (30, 40_500, 1_620),
        (31, 108_000, 3_600),
        (32, 216_000, 5_120),
        (40, 245_760, 8_192),
        (42, 522_240, 8_704),
        (50, 589_824, 22_080),
        (51, 983_040, 36_864),
        (52, 2_073_600, 36_864),
        (60, 4_177_920, 139_264),
    ];
    LEVELS
        .iter()
        .find(|(_, rate, size)| macroblocks * fps <= *rate && macroblocks <= *size)
        .map_or(62, |(level, ..)| *level)
}

/// An RBSP under construction (7.2, 9.1), highest bit first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    partial: u8,
    held: u32,
}

impl Bits {
    fn u(&mut self, count: u32, value: u32) {
        for bit in (0..count).rev() {
            self.partial = (self.partial << 1) | ((value >> bit) & 1) as u8;
            self.held += 1;
            if self.held == 8 {
                self.bytes.push(self.partial);
                (self.partial, self.held) = (0, 0);
            }
        }
    }

    /// Exponential Golomb code.
    fn ue(&mut self, value: u32) {
        let code = value + 1;
        let width = 32 - code.leading_zeros();
        self.u(width - 1, 0);
        self.u(width, code);
    }

    fn align(&mut self, bit: u32) {
        while self.held != 0 {
            self.u(1, bit);
        }
    }

    /// Only on a byte boundary.
    fn bytes(&mut self, bytes: &[u8]) {
        debug_assert_eq!(self.held, 0);
        self.bytes.extend_from_slice(bytes);
    }

    /// Closes the payload (7.3.2.11) and keeps start codes out of it (7.4.1.1).
    fn nal(mut self, ref_idc: u8, kind: u8) -> Vec<u8> {
        self.u(1, 1);
        self.align(0);
        let mut nal = Vec::with_capacity(self.bytes.len() + 1);
        nal.push((ref_idc << 5) | kind);
        let mut zeros = 0;
        for byte in self.bytes {
            if zeros >= 2 && byte <= 3 {
                nal.push(3);
                zeros = 0;
            }
            zeros = if byte == 0 { zeros + 1 } else { 0 };
            nal.push(byte);
        }
        nal
    }
}
