// Every kernel in one translation unit, for the host emulation.
#pragma once
#include "embed.cu"
#include "norm.cu"
#include "linear.cu"
#include "qkv.cu"
#include "gateup.cu"
#include "attend_decode.cu"
#include "attend_prefill.cu"
#include "amp.cu"
#include "criteria.cu"
#include "choose.cu"
#include "sample.cu"
#include "fill.cu"
