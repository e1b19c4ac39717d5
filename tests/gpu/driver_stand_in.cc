// A libcuda.so.1 for machines without a GPU, with which cuDNN can compile its plans: it takes
// compiled code and does nothing else. The rest of what cuDNN looks up answers as the toolkit's own
// stub does.
extern "C" {

constexpr int kSuccess = 0, kStub = 34;  // CUDA_SUCCESS, CUDA_ERROR_STUB_LIBRARY
static int object;

int cuLibraryLoadData(void** library, const void*, void*, void*, unsigned, void*, void*, unsigned) {
  *library = &object;
  return kSuccess;
}
int cuLibraryGetKernel(void** kernel, void*, const char*) {
  *kernel = &object;
  return kSuccess;
}
int cuLibraryUnload(void*) { return kSuccess; }
int cuKernelSetAttribute(int, int, void*, int) { return kSuccess; }
int cuKernelGetAttribute(int* value, int, void*, int) {
  *value = 0;
  return kSuccess;
}

int refuse() { return kStub; }

[[gnu::alias("refuse")]] int cuCtxGetCurrent();
[[gnu::alias("refuse")]] int cuCtxGetDevice();
[[gnu::alias("refuse")]] int cuCtxGetLimit();
[[gnu::alias("refuse")]] int cuCtxPopCurrent();
[[gnu::alias("refuse")]] int cuCtxPushCurrent();
[[gnu::alias("refuse")]] int cuDeviceGet();
[[gnu::alias("refuse")]] int cuDeviceGetAttribute();
[[gnu::alias("refuse")]] int cuDeviceGetCount();
[[gnu::alias("refuse")]] int cuDevicePrimaryCtxRelease();
[[gnu::alias("refuse")]] int cuDevicePrimaryCtxReset();
[[gnu::alias("refuse")]] int cuDevicePrimaryCtxRetain();
[[gnu::alias("refuse")]] int cuDriverGetVersion();
[[gnu::alias("refuse")]] int cuFuncGetAttribute();
[[gnu::alias("refuse")]] int cuFuncSetAttribute();
[[gnu::alias("refuse")]] int cuGetErrorName();
[[gnu::alias("refuse")]] int cuGetErrorString();
[[gnu::alias("refuse")]] int cuInit();
[[gnu::alias("refuse")]] int cuLaunchCooperativeKernel();
[[gnu::alias("refuse")]] int cuLaunchKernel();
[[gnu::alias("refuse")]] int cuLaunchKernelEx();
[[gnu::alias("refuse")]] int cuLibraryLoadFromFile();
[[gnu::alias("refuse")]] int cuLinkAddData();
[[gnu::alias("refuse")]] int cuLinkAddData_v2();
[[gnu::alias("refuse")]] int cuLinkAddFile_v2();
[[gnu::alias("refuse")]] int cuLinkComplete();
[[gnu::alias("refuse")]] int cuLinkCreate();
[[gnu::alias("refuse")]] int cuLinkCreate_v2();
[[gnu::alias("refuse")]] int cuLinkDestroy();
[[gnu::alias("refuse")]] int cuMemcpyDtoH_v2();
[[gnu::alias("refuse")]] int cuModuleGetFunction();
[[gnu::alias("refuse")]] int cuModuleGetGlobal_v2();
[[gnu::alias("refuse")]] int cuModuleLoadData();
[[gnu::alias("refuse")]] int cuModuleLoadDataEx();
[[gnu::alias("refuse")]] int cuModuleLoadFatBinary();
[[gnu::alias("refuse")]] int cuModuleUnload();
[[gnu::alias("refuse")]] int cuOccupancyMaxActiveBlocksPerMultiprocessor();
[[gnu::alias("refuse")]] int cuOccupancyMaxPotentialClusterSize();
[[gnu::alias("refuse")]] int cuStreamGetCtx();
[[gnu::alias("refuse")]] int cuStreamSynchronize();
[[gnu::alias("refuse")]] int cuTensorMapEncodeTiled();

}  // extern "C"
